# What the benchmarks need beside Rust: found, or installed. Sourced by benches/compare and benches/scale.

rclone_version=v1.76.0
awscli_version=1.45.11
s5cmd_version=v2.3.0
# As in scripts/test.
minio_versions=(v0.0.0-20251015172955-9e49d5e7a648 v0.0.0-20260212201848-7aac2a2c5b7c)
tools=${XDG_CACHE_HOME:-$HOME/.cache}/zoom-archiver-benches

say() { printf '%s\n' "${0##*/}: $*" >&2; }
fail() { say "$*"; exit 1; }
as_root() { if ((EUID == 0)); then "$@"; else sudo -n "$@"; fi; }

apt_install() {
    say "installing $* with apt-get"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" >&2 \
        || fail "cannot install $*"
}

go_bin() { local path; path=$(go env GOBIN) && [[ -n $path ]] || path=$(go env GOPATH)/bin; echo "$path"; }

# go_get NAME MODULE VERSION: builds a program. `go install` asks the proxy for all versions, which some do not tell: a
# module of its own needs none but the one.
go_get() {
    local name=$1 module=$2 version=$3 folder result=0
    if go install "$module@$version" >&2; then return; fi
    folder=$(mktemp -d)
    (
        cd "$folder"
        go mod init tools && go mod edit -require "$module@$version"
        go build -mod=mod -o "$(go_bin)/$name" "$module"
    ) >&2 || result=1
    rm -rf "$folder"
    return "$result"
}

# go_tool NAME MODULE VERSION…: the program's path; the first version that can be had, where it is missing.
go_tool() {
    local name=$1 module=$2 version
    shift 2
    if command -v "$name"; then return; fi
    command -v go >/dev/null || fail "no $name, and no Go to build it"
    if [[ ! -x $(go_bin)/$name ]]; then
        for version in "$@"; do
            say "installing $name with go install ($version); this takes minutes, once"
            if go_get "$name" "$module" "$version"; then break; fi
        done
    fi
    [[ -x $(go_bin)/$name ]] || fail "cannot install $name"
    echo "$(go_bin)/$name"
}

aws_tool() {
    if command -v aws; then return; fi
    if [[ ! -x $tools/awscli/bin/aws ]]; then
        say "installing awscli $awscli_version with pip"
        python3 -m venv "$tools/awscli" >&2
        "$tools/awscli/bin/pip" install --quiet "awscli==$awscli_version" >&2
    fi
    echo "$tools/awscli/bin/aws"
}

# The programs of the newest PostgreSQL server.
postgres_bin() {
    local found
    found=$(printf '%s\n' /usr/lib/postgresql/*/bin/postgres | sort -V | tail -n 1)
    [[ -x $found ]] && dirname "$found"
}

# What both use: a source, GNU time, a database, and a store with a way to look into it.
stage_tools() {
    command -v python3 >/dev/null || fail "no python3"
    export NGINX_BIN RCLONE_BIN MINIO_BIN POSTGRES_BIN
    NGINX_BIN=$(PATH=$PATH:/usr/sbin command -v nginx) || {
        # The package would start a server of its own on port 80; nobody asked for that one.
        apt_install nginx-light
        as_root service nginx stop >/dev/null 2>&1 || true
        NGINX_BIN=/usr/sbin/nginx
    }
    [[ -x /usr/bin/time ]] || apt_install time
    RCLONE_BIN=${RCLONE_BIN:-$(go_tool rclone github.com/rclone/rclone "$rclone_version")}
    MINIO_BIN=${MINIO_BIN:-$(go_tool minio github.com/minio/minio "${minio_versions[@]}")}
    POSTGRES_BIN=$(postgres_bin) || { apt_install postgresql; POSTGRES_BIN=$(postgres_bin); }
}
