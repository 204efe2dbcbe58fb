#!/bin/bash
# Make the captures again: make.sh HOST:PORT (a Samba with share `torture` and user alice/secret1).
# CLIENT is the newer smbclient's command (may enter a chroot), CLIENT_OLD the distribution's, TORTURE the smbtorture
# command. LOCAL is a folder that both see under this name and which holds small.txt and big.bin.
set -u
server=$1 here=$(cd "$(dirname "$0")" && pwd)
CLIENT=${CLIENT:-smbclient} CLIENT_OLD=${CLIENT_OLD:-smbclient} TORTURE=${TORTURE:-smbtorture} LOCAL=${LOCAL:-/tmp/capture}

work="ls; mkdir d; cd d; lcd $LOCAL; put small.txt; put big.bin; ls; get small.txt /dev/null; get big.bin /dev/null;
rename small.txt other.txt; allinfo other.txt; del other.txt; del big.bin; cd ..; rmdir d; du; volume"
short="lcd $LOCAL; put small.txt s.txt; get s.txt /dev/null; ls; del s.txt"

# run NAME USER CLIENT-COMMAND ARGS...: one capture file
run() {
  local name=$1 user=$2; shift 2
  rm -f "$here/$name".txt "$here/$name"-[0-9].txt
  python3 "$here/record.py" "$server" "$here/$name.txt" --cap "${CAP:-140000}" --user "$user" --note "session: $name" -- "$@" >"/tmp/capture-$name.log" 2>&1
  echo "$name: exit $?, $(cat "$here/$name".txt 2>/dev/null | wc -c) bytes"
}
# smb NAME COMMANDS ARGS...: the newer smbclient on share torture as alice
smb() {
  local name=$1 commands=$2; shift 2
  run "$name" alice%secret1 $CLIENT -s /dev/null -p '{port}' -U alice%secret1 "$@" //127.0.0.1/torture -c "$commands"
}
old() {
  local name=$1 commands=$2; shift 2
  run "$name" alice%secret1 $CLIENT_OLD -s /dev/null -p '{port}' -U alice%secret1 "$@" //127.0.0.1/torture -c "$commands"
}
only() { echo "--option=client min protocol=$1" "--option=client max protocol=$1"; }
torture() {
  CAP=${2:-50000} run "torture-${1//./-}" alice%secret1 $TORTURE -s /dev/null -p '{port}' -U alice%secret1 //127.0.0.1/torture "$1"
}

first() {
  for d in SMB2_02 SMB2_10 SMB3_00 SMB3_02 SMB3_11; do
    smb "dialect-$d" "$work" "--option=client min protocol=$d" "--option=client max protocol=$d"
  done
  smb multi-protocol "$short" "--option=client min protocol=NT1" "--option=client max protocol=SMB3"
  smb signed-3.1.1-gmac "$short" --client-protection=sign "--option=client smb3 signing algorithms=AES-128-GMAC"
  smb signed-3.1.1-cmac "$short" --client-protection=sign "--option=client smb3 signing algorithms=AES-128-CMAC"
  smb signed-3.1.1-hmac "$short" --client-protection=sign "--option=client smb3 signing algorithms=HMAC-SHA256"
  smb signed-3.0-cmac "$short" --client-protection=sign "--option=client max protocol=SMB3_00"
  smb signed-2.1-hmac "$short" --client-protection=sign "--option=client max protocol=SMB2_10"
  for c in aes-128-ccm aes-128-gcm aes-256-ccm aes-256-gcm; do
    smb "sealed-3.1.1-$c" "$short" --client-protection=encrypt "--option=client smb3 encryption algorithms=${c^^}"
  done
  smb sealed-3.0-aes-128-ccm "$short" --client-protection=encrypt "--option=client max protocol=SMB3_00"
  run list-shares alice%secret1 $CLIENT -s /dev/null -p '{port}' -U alice%secret1 -L 127.0.0.1
  run wrong-password alice%wrong $CLIENT -s /dev/null -p '{port}' -U alice%wrong //127.0.0.1/torture -c ls
  run unknown-share alice%secret1 $CLIENT -s /dev/null -p '{port}' -U alice%secret1 //127.0.0.1/nothere -c ls
}

more() {
  run anonymous-list % $CLIENT -s /dev/null -p '{port}' -N -L 127.0.0.1
  run unknown-user nobody2%x $CLIENT -s /dev/null -p '{port}' -U nobody2%x //127.0.0.1/torture -c ls
  smb names "lcd $LOCAL; put small.txt \"a b.txt\"; put small.txt ümlaut.txt; put small.txt 😀.txt; ls; ls A?B*; get \"A B.TXT\" /dev/null; del \"a b.txt\"; del ümlaut.txt; del 😀.txt; get missing; cd missing; ls nothing*"
  smb recursive "lcd $LOCAL; recurse; prompt; mput tree; ls; recurse; deltree tree"
  smb refusals "get missing; mkdir e; mkdir e; cd e; lcd $LOCAL; put small.txt; cd ..; rmdir e; cd e; del small.txt; cd ..; rmdir e; rmdir e; get ../../etc/passwd"
  smb attributes "lcd $LOCAL; put small.txt t.txt; setmode t.txt +r; allinfo t.txt; setmode t.txt -r; utimes t.txt -1 -1 2020:01:02-03:04:05 -1; allinfo t.txt; showacls; ls t.txt; streams t.txt; del t.txt"
  smb netbios-name-session "$short" -n SOMECLIENT -W OTHERGROUP
  old old-3.1.1 "$work"
  old old-2.1 "$short" -m SMB2_10
  old old-sealed "$short" --client-protection=encrypt
  run old-list-shares alice%secret1 $CLIENT_OLD -s /dev/null -p '{port}' -U alice%secret1 -L 127.0.0.1
  for t in smb2.connect smb2.read.eof smb2.read.position smb2.read.dir smb2.getinfo.complex smb2.getinfo.fsinfo smb2.getinfo.qfs_buffercheck \
    smb2.getinfo.qfile_buffercheck smb2.getinfo.qsec_buffercheck smb2.compound.related1 smb2.compound.related2 smb2.compound.related3 smb2.compound.unrelated1 smb2.compound.invalid1 smb2.compound.compound-break \
    smb2.compound.compound-padding smb2.compound_find.compound_find_related smb2.dir.one smb2.dir.sorted smb2.dir.find smb2.lock.rw-shared smb2.lock.async smb2.create.blob smb2.create.gentest smb2.notify.dir smb2.notify.tcp \
    smb2.setinfo smb2.lease.request smb2.durable-v2-open.open-lease smb2.session.reauth1 smb2.session.reconnect1 smb2.credits.session_setup_credits_granted smb2.ioctl.copy_chunk_simple smb2.rename.simple smb2.oplock.exclusive1 smb2.tcon; do torture $t; done
  torture rpc.srvsvc 120000
}
for part in ${2:-first more}; do $part; done
