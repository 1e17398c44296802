#!/bin/sh
# Makes sure that the programs which tests call are here. On Debian as root it installs what is missing, without
# leaving a service running: tests start their own servers, on ports and in folders of their own.
set -eu

sh "${0%/*}/install_chromium.sh"

say() { printf '%s\n' "$*" >&2; }

# A program, the Debian package that has it, and what needs it.
needed() {
    cat <<'LIST'
curl curl the README's tour
/usr/lib/postgresql/15/bin/postgres postgresql-15 the oldest PostgreSQL that the stores are proven on
redis-server redis-server sources that read from Redis
rabbitmq-server rabbitmq-server sources that read from RabbitMQ
ip iproute2 the proofs that cut a node off from the network
LIST
}

# Debian keeps servers' programs where an ordinary user's PATH does not look.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
missing=$(needed | while read -r program package purpose; do
    command -v "$program" >/dev/null 2>&1 || printf '%s ' "$package"
done)
[ -n "$missing" ] || exit 0

needed | while read -r program package purpose; do
    case " $missing" in *" $package "*) say "Tests need $package, which is not here: $purpose." ;; esac
done

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    say "Run this, then the same make command again (tests start their own servers; Debian's need not run):"
    case " $missing" in
    *" postgresql-15 "*)
        say "    sudo mkdir -p /etc/postgresql-common"
        say "    echo 'create_main_cluster = false' | sudo tee -a /etc/postgresql-common/createcluster.conf"
        ;;
    esac
    say "    sudo apt-get install --no-install-recommends $missing"
    exit 1
fi

say "Installing with apt-get: $missing"
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    # While this file says 101, package scripts start no service.
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
clusters=/etc/postgresql-common/createcluster.conf
case " $missing" in
*" postgresql-15 "*)
    if ! grep -qs '^create_main_cluster *= *false' "$clusters"; then
        # Otherwise Debian makes a database cluster, and starts it with the machine.
        mkdir -p "${clusters%/*}"
        echo 'create_main_cluster = false' >>"$clusters"
    fi
    ;;
esac
apt-get update -qq
# shellcheck disable=SC2086 # a list of packages
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    -o Dpkg::Options::=--force-confold $missing >/dev/null
