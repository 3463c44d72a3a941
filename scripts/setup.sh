#!/bin/sh
# usage: setup.sh [--into FOLDER] LOCK…
# Puts all that the named lock files hold into .venv, and Headrace itself, editable; or
# into an environment of its own in FOLDER, without Headrace.
# Needs Python 3.11 or later with pip; works as root and as a plain user.
set -eu
cd "$(dirname "$0")/.."
# Compiled at once: each command and test would otherwise do it anew where Python may
# not write it down (PYTHONDONTWRITEBYTECODE), which more than doubles a start.
export UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
python=${PYTHON:-python3}
uv=var/tools/bin/uv
into=.venv
if [ "${1-}" = --into ]; then
    into=$2
    shift 2
fi

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "Headrace needs Python 3.11 or later; set PYTHON to one" >&2
    exit 2
fi
# Into a folder of its own, since many systems keep their Python closed to pip.
[ -x "$uv" ] || "$python" -m pip install -q --no-deps --require-hashes \
    --target var/tools -r requirements-tools.lock
[ -x "$into/bin/python" ] || "$uv" venv -q --python "$python" "$into"
for lock in "$@"; do
    "$uv" pip install -q --python "$into/bin/python" \
        --no-deps --require-hashes -r "$lock"
done
[ "$into" != .venv ] || [ -x .venv/bin/headrace ] ||
    "$uv" pip install -q --python .venv/bin/python --no-deps --no-build-isolation -e .
