#!/bin/sh
# Puts all that the named lock files hold into .venv, and Headrace itself, editable.
# Needs Python 3.11 or later with pip; works as root and as a plain user.
set -eu
cd "$(dirname "$0")/.."
export UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
python=${PYTHON:-python3}
uv=var/tools/bin/uv

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "Headrace needs Python 3.11 or later; set PYTHON to one" >&2
    exit 2
fi
# Into a folder of its own, since many systems keep their Python closed to pip.
[ -x "$uv" ] || "$python" -m pip install -q --no-deps --require-hashes \
    --target var/tools -r requirements-tools.lock
[ -x .venv/bin/python ] || "$uv" venv -q --python "$python" .venv
for lock in "$@"; do
    "$uv" pip install -q --python .venv/bin/python --no-deps --require-hashes -r "$lock"
done
[ -x .venv/bin/headrace ] ||
    "$uv" pip install -q --python .venv/bin/python --no-deps --no-build-isolation -e .
