#!/bin/sh
# The CGI program of Apache httpd and lighttpd: cgi.sh/WHAT, described in tests/apps/README.md.
what=${PATH_INFO#/}
text() { printf 'Content-Type: text/plain\r\n'; }
wait_until_told() { while [ ! -e "$WEIR_APPS/$SERVER-$what" ]; do sleep 0.02; done; }
# N bytes of a letter.
letters() { head -c "$1" /dev/zero | tr '\0' "$2"; }

case $what in
204) printf 'Status: 204 No Content\r\n\r\n' ;;
early | close) text; printf 'Content-Length: 6\r\n\r\n'; if [ "$what" = early ]; then echo early; cat >/dev/null; else echo close; fi ;;
sum) sum=$(sha256sum); text; printf '\r\n%s' "${sum%% *}" ;;
down) text; printf '\r\n'; for letter in a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d; do letters 10000 $letter; done ;;
sse) printf 'Content-Type: text/event-stream\r\n\r\ndata: 1\n\n'; wait_until_told; printf 'data: 2\n\n' ;;
cut) text; printf 'Content-Length: 1000000\r\n\r\n'; letters 500000 x; wait_until_told ;;
hang) wait_until_told; text; printf 'Content-Length: 8\r\n\r\nat last\n' ;;
*) printf 'Status: 404 Not Found\r\n\r\n' ;;
esac
