# PostgreSQL with the cluster that Debian's package makes; at the first start it gets its password.
set -e
bin=$(echo /usr/lib/postgresql/*/bin)
version=${bin#/usr/lib/postgresql/}
version=${version%/bin}
data=/var/lib/postgresql/$version/main
settings=/etc/postgresql/$version/main/postgresql.conf
if [ ! -e "$data/has-password" ]; then
    echo "ALTER ROLE postgres PASSWORD '$(cat /run/secrets/db_password)'" |
        "$bin/postgres" --single -D "$data" -c "config_file=$settings" postgres >/dev/null
    echo 'host all all all scram-sha-256' >"$data/hba.conf"
    echo 'local all all peer' >>"$data/hba.conf"
    touch "$data/has-password"
fi
exec "$bin/postgres" -D "$data" -c "config_file=$settings" -c "hba_file=$data/hba.conf" -c 'listen_addresses=*' \
    -c unix_socket_directories=/tmp -c ssl=off -c fsync=off -c shared_buffers=16MB -c log_destination=stderr
