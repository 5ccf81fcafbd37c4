#!/bin/sh
# Lays out the files of an image: `image-files.sh FOLDER_OF_PROGRAMS ROOT`. Programs, `sleep`, the
# libraries that they load, and a user without rights.
set -eu
programs=$1
root=$2
mkdir -p "$root/usr/bin" "$root/etc"
put() {
    install -D -m 0755 "$1" "$root$2"
    ldd "$1" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' | while read -r library; do
        install -D -m 0755 "$library" "$root$library"
    done
}
for program in millrace-router millrace-gateway millrace-agent millrace millrace-loadgen; do put "$programs/$program" "/usr/bin/$program"; done
put "$(command -v sleep)" /usr/bin/sleep
echo 'millrace:x:65532:65532::/:/usr/bin/millrace' >"$root/etc/passwd"
echo 'millrace:x:65532:' >"$root/etc/group"
