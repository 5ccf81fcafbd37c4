#!/bin/bash
# Routers and clients with certificates as step-ca (a chain, SEC1 keys, a day), SPIRE (one spiffe:// id, no name, an hour) and
# cert-manager (RSA, PKCS #1, no common name, 90 days) issue them: routers link, clients that must show one are served, nobody is
# warned of a certificate that is new, and a workload of the same trust domain is no client.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace, millrace-router), bash, jq, curl, openssl.
. "$(dirname "$0")/lib/redundant.bash" || exit 77
cd "$W" || exit 77
openssl version | grep -q '^OpenSSL' || exit 77

authority() { # file subject extensions issuer
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$2" -keyout $1.key -out $1.csr 2>/dev/null
  printf "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n$3" >$1.ext
  if [ -n "$4" ]; then openssl x509 -req -in $1.csr -CA $4.pem -CAkey $4.key -CAcreateserial -days 3650 -extfile $1.ext -out $1.pem 2>/dev/null
  else openssl x509 -req -in $1.csr -signkey $1.key -days 3650 -extfile $1.ext -out $1.pem 2>/dev/null; fi; }
# Ends so many minutes from now: `openssl x509` counts in days.
leaf() { # file key-command subject extensions issuer minutes
  eval "$2" >$1.key 2>/dev/null; openssl req -new -key $1.key -subj "$3" -out $1.csr 2>/dev/null; printf "$4" >$1.ext
  [ -e $5.db ] || { : >$5.db; printf "[ca]\ndefault_ca=d\n[d]\ndatabase=$5.db\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\norganizationName=optional\ncountryName=optional\ncommonName=optional\n" >$5.cnf; }
  openssl ca -batch -notext -config $5.cnf -in $1.csr -cert $5.pem -keyfile $5.key -extfile $1.ext -out $1.pem -startdate $(date -u -d '-1 minute' +%y%m%d%H%M%SZ) -enddate $(date -u -d "+$6 minutes" +%y%m%d%H%M%SZ) >/dev/null 2>$1.told || wrong "openssl: $(cat $1.told)"; }
uses=extendedKeyUsage=serverAuth,clientAuth

tried() { # issuer ca : ISSUER-one, ISSUER-two, ISSUER-me are there
  local who=$1
  router --name $who-one --cert $who-one.pem --key $who-one.key --ca $2 --set tls.require_client_certificate=true; A=$RA AA=$ADM; [ -n "$A" ] || wrong "$who: the first router: $(tail -2 $W/err$N)"
  ! grep -i expire $W/err$N || wrong "$who: a new certificate is warned of"
  router --name $who-two --cert $who-two.pem --key $who-two.key --ca $2 --set tls.require_client_certificate=true --seed $A; [ -n "$RA" ] || wrong "$who: the second router: $(tail -2 $W/err$N)"
  linked $ADM 1
  "$BIN/millrace" --router localhost:${RA##*:} --ca $2 --cert $who-me.pem --key $who-me.key sub -n 1 a=b >$who.got 2>$who.told & S=$!; PIDS="$PIDS $S"
  await 20 grep -q subscribed $who.told || wrong "$who: no subscription"
  "$BIN/millrace" --router localhost:${A##*:} --ca $2 --cert $who-me.pem --key $who-me.key pub -t a=b hello || wrong "$who: nothing is published"
  await 10 grep -q hello $who.got || wrong "$who: nothing came"
  "$BIN/millrace" check --admin $AA --only certificate >$who.check || wrong "$who: $(cat $who.check)"; }

ec='openssl ecparam -name prime256v1 -genkey -noout'
authority step-root /CN=root; authority step /CN=intermediate "" step-root
for r in one two; do leaf step-$r "$ec" /CN=localhost "keyUsage=critical,digitalSignature\n$uses\nsubjectAltName=DNS:localhost,IP:127.0.0.1,URI:millrace://router/$r\n" step 1440; done
leaf step-me "$ec" /CN=me "keyUsage=critical,digitalSignature\n$uses\nsubjectAltName=URI:millrace://client/me\n" step 1440
for f in step-one step-two step-me; do cat step.pem >>$f.pem; done
tried step step-root.pem

pkcs8='openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256'
svid="basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment,keyAgreement\n$uses\nsubjectAltName=URI:spiffe://prod.example"
authority spire /C=US/O=SPIFFE subjectAltName=URI:spiffe://prod.example
for r in one two; do leaf spire-$r "$pkcs8" /C=US/O=SPIRE/CN=localhost "$svid/millrace/router/$r,DNS:localhost\n" spire 60; done
leaf spire-me "$pkcs8" /C=US/O=SPIRE "$svid/millrace/client/me\n" spire 60
leaf spire-other "$pkcs8" /C=US/O=SPIRE "$svid/ns/shop/sa/web\n" spire 60
tried spire spire.pem
"$BIN/millrace" --router localhost:${A##*:} --ca spire.pem --cert spire-other.pem --key spire-other.key pub -t a=b no >other.told 2>&1 && wrong "a workload without a role is served"
grep -q "millrace/client" other.told || wrong "what a client's id must be is not told: $(cat other.told)"

rsa='openssl genrsa -traditional 2048'
authority cm /CN=cluster-ca
for r in one two; do leaf cm-$r "$rsa" / "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n$uses\nsubjectAltName=critical,DNS:localhost,DNS:*.mesh.svc.cluster.local,URI:millrace://router/$r\n" cm 129600; done
leaf cm-me "$rsa" / "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n$uses\nsubjectAltName=critical,URI:millrace://client/me\n" cm 129600
tried cm cm.pem
echo "right: chains of step, ids of SPIRE, RSA of cert-manager"
