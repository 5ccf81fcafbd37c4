#!/bin/bash
# What a client is given for TLS (--ca, --cert, --key) and cannot be used: the file is named, with what it is and the cure; pipes and byte order marks work.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace, millrace-router), bash, jq, openssl.
BIN=${BIN:?folder of the binaries}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p $HOME $XDG_RUNTIME_DIR
for v in ROUTER CA CERT KEY SEEDS LISTEN ADMIN CONFIG ADVERTISE; do unset MILLRACE_$v; done
PIDS=; trap 'for p in $PIDS; do kill -9 $p 2>/dev/null; done; wait 2>/dev/null; rm -rf $W' EXIT
N=0
router() { # arguments... ; sets RP (pid) RA (address) ADM (admin) ERR (its standard error)
  N=$((N+1)); ERR=$W/err$N; "$BIN/millrace-router" --ready-json --admin 127.0.0.1:0 "$@" >$W/ready$N 2>$ERR & RP=$!; PIDS="$PIDS $RP"
  for i in $(seq 100); do [ -s $W/ready$N ] && break; kill -0 $RP 2>/dev/null || break; sleep 0.1; done
  RA=$(jq -r .addr $W/ready$N 2>/dev/null); ADM=$(jq -r .admin $W/ready$N 2>/dev/null); }
wrong() { echo "WRONG: $*"; exit 1; }
right() { echo "right: $*"; exit 0; }
cd $W
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=ca -keyout ca.key -out ca.pem -addext basicConstraints=critical,CA:TRUE >/dev/null 2>&1
cert() { # name uri usages [days]
  openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256 -out $1.key 2>/dev/null; openssl req -new -key $1.key -subj /CN=$1 -out $1.csr 2>/dev/null
  printf "subjectAltName=URI:$2,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=$3\n" >$1.ext
  openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days ${4:-30} -extfile $1.ext -out $1.pem >/dev/null 2>&1; }
cert r millrace://router/r serverAuth,clientAuth; cert c millrace://client/c clientAuth; cert d millrace://client/d clientAuth
cert s millrace://client/s serverAuth; cert x millrace://client/x clientAuth -1
openssl pkcs8 -topk8 -in c.key -out enc.key -passout pass:x -v2 aes-256-cbc 2>/dev/null; openssl x509 -in c.pem -outform der -out c.der; : >empty
for f in c ca; do (printf '\xef\xbb\xbf'; cat $f.pem) >bom-$f.pem; done
router --listen 127.0.0.1:0 --cert r.pem --key r.key --ca ca.pem --set tls.require_client_certificate=true
[ -n "$RA" ] || wrong "no router: $(cat $ERR)"
pub() { timeout 20 "$BIN/millrace" --router $RA "$@" pub -q -t a=b x >out 2>err; }
pub --ca ca.pem --cert c.pem --key c.key || wrong "not served: $(cat err)"
pub --ca bom-ca.pem --cert bom-c.pem --key c.key || wrong "byte order marks: $(cat err)"
pub --ca <(cat ca.pem) --cert <(cat c.pem) --key <(cat c.key) || wrong "pipes: $(cat err)"
told() { # code, words, arguments...
  local code=$1 words=$2; shift 2; (ulimit -v 8000000; pub "$@"); local rc=$?
  [ $rc = $code ] && grep -qiE "$words" err || wrong "$*: code $rc: $(head -c 300 err)"; }
told 2 'enc.key.*passphrase' --ca ca.pem --cert c.pem --key enc.key
told 2 'd.key.*c.pem' --ca ca.pem --cert c.pem --key d.key
told 2 'c.key.*swapped' --ca ca.pem --cert c.key --key c.pem
told 2 'empty' --ca ca.pem --cert c.pem --key empty
told 2 'c.der.*DER' --ca ca.pem --cert c.der --key c.key
told 2 's.pem.*clientAuth' --ca ca.pem --cert s.pem --key s.key
told 2 'zero.*larger' --ca ca.pem --cert /dev/zero --key c.key
told 3 'x.pem has expired' --ca ca.pem --cert x.pem --key x.key
told 3 'ca.key holds a private key' --ca ca.key
told 3 'empty' --ca empty
told 3 'zero.*larger' --ca /dev/zero
told 3 'folder' --ca /tmp
chmod 644 c.key; pub --ca ca.pem --cert c.pem --key c.key && grep -q 'chmod 600' err || wrong "an open key: $(cat err)"
right "each is told with its file"
