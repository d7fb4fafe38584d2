# Runs inside a container: adds rows to a table of the PostgreSQL at $1 for ever, and notes each that was committed in $3.
while :; do
    id=$(PGCONNECT_TIMEOUT=2 timeout 2 psql -h "$1" -U postgres -qAt -c "INSERT INTO $2 DEFAULT VALUES RETURNING id" 2> /dev/null) &&
        [ -n "$id" ] && echo "$(date +%s.%N) $id" >> "$3" ||
        sleep 0.1
done
