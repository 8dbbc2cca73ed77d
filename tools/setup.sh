#!/usr/bin/env bash
# Make the environment equal to a lock list: `setup.sh run` (what the product needs) or
# `setup.sh dev` (tests and tools too). Quick when nothing changed.
set -euo pipefail
cd "$(dirname "$0")/.."
want=${1:-dev}

say() { printf '%s\n' "$*"; }

install_package() { # install a system package where that is allowed, else say plainly what lacks
    say "system package '$1' is missing: $2"
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$1" >/dev/null
    elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then
        sudo -n apt-get update -qq && sudo -n apt-get install -y -qq "$1" >/dev/null
    else
        say "it cannot be installed from here; ask for:  apt-get install $1"
        return 1
    fi
}

python=""
for candidate in python3.11 python3.12 python3.13 python3; do
    if command -v "$candidate" >/dev/null &&
        "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    say "Python 3.11, 3.12 or 3.13 is needed and was not found; on Debian:  apt-get install python3"
    exit 1
fi

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    rm -rf .venv # none, or one whose making was interrupted
    if ! "$python" -m venv .venv >/dev/null 2>&1; then
        rm -rf .venv
        install_package "$("$python" -c 'import sys; print(f"python3.{sys.version_info[1]}-venv")')" \
            "needed to make the environment"
        "$python" -m venv .venv
    fi
fi

stamp() { cat "requirements/$1.txt" pyproject.toml | sha256sum | cut -d' ' -f1; }
holds() { [ "$(cat ".venv/lock-$1" 2>/dev/null)" = "$(stamp "$1")" ]; }

# The dev list contains the run list.
if ! holds "$want" && ! { [ "$want" = run ] && holds dev; }; then
    say "installing requirements/$want.txt"
    [ -x .venv/bin/uv ] || .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --require-hashes --no-deps -r requirements/bootstrap.txt
    # Compiled once here, so that no command spends its first seconds on it.
    .venv/bin/uv pip sync --quiet --compile-bytecode --python .venv/bin/python --require-hashes "requirements/$want.txt"
    .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation -e .
    rm -f .venv/lock-*
    stamp "$want" >".venv/lock-$want"
fi

if ! ldconfig -p 2>/dev/null | grep -q libpangoft2-1.0; then
    install_package libpangoft2-1.0-0 "the PDF of the board pack is laid out with it" || true
fi
if [ "$want" = dev ] && [ ! -x /usr/bin/chromium ]; then
    install_package chromium "the browser tests drive it" || true
fi
if [ "$want" = dev ] && ! command -v dciodvfy >/dev/null; then
    install_package dicom3tools "the tests validate image files with it" || true
fi
orthanc_is_new=no
if [ "$want" = dev ] && ! PATH="$PATH:/usr/sbin" command -v Orthanc >/dev/null; then
    install_package orthanc "the tests ask a real archive" && orthanc_is_new=yes || true
fi
if [ "$want" = dev ] && [ ! -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ]; then
    install_package orthanc-dicomweb "the tests ask an archive over DICOMweb" || true
fi
if [ "$orthanc_is_new" = yes ] && [ -d /run/systemd/system ]; then
    # Debian starts it as a service at once; the tests start their own, on ports of their own.
    if [ "$(id -u)" = 0 ]; then systemctl disable --now orthanc; else sudo -n systemctl disable --now orthanc; fi || true
fi
if [ "$want" = dev ] && ! command -v findscu >/dev/null; then
    install_package dcmtk "the tests compare our answers with its findscu" || true
fi

# Spark has an environment of its own: Great Expectations imports pyspark wherever it finds it.
java_for_spark() {
    compgen -G "/usr/lib/jvm/java-17-openjdk-*/bin/java" >/dev/null ||
        compgen -G "/usr/lib/jvm/java-21-openjdk-*/bin/java" >/dev/null ||
        { command -v java >/dev/null && java -version 2>&1 | grep -qE 'version "(17|21)'; }
}
if [ "$want" = dev ]; then
    if ! java_for_spark; then
        install_package openjdk-17-jre-headless "the tests build the warehouse on Spark too" ||
            install_package openjdk-21-jre-headless "the tests build the warehouse on Spark too" || true
    fi
    # each in an environment of its own, made anew where its Python has left the machine
    beside() { # folder, list
        local wanted
        wanted=$(sha256sum "requirements/$2.txt" | cut -d' ' -f1)
        "$1/bin/python" -c '' 2>/dev/null || rm -rf "$1"
        [ "$(cat "$1/lock" 2>/dev/null)" != "$wanted" ] || return 0
        say "installing requirements/$2.txt into $1"
        [ -x "$1/bin/python" ] || "$python" -m venv --without-pip "$1"
        .venv/bin/uv pip sync --quiet --compile-bytecode --python "$1/bin/python" --require-hashes "requirements/$2.txt"
        printf '%s\n' "$wanted" >"$1/lock"
    }
    beside .venv-spark spark
    # A DuckDB as readers may still have it: the tests open the published files with it.
    beside .venv-old-duckdb old_client
fi
