#!/bin/sh
# A stand-in for nvidia-container-runtime: runc, with a prestart hook for whoever asks for a GPU; the hook fails as libnvidia-container's
# does on a host without the driver's libraries. Where runc is told to create, its bundle's config.json is changed first.
bundle=.
last=
create=
for word in "$@"; do
    [ "$last" = --bundle ] || [ "$last" = -b ] && bundle=$word
    [ "$word" = create ] && create=1
    last=$word
done
if [ -n "$create" ] && grep -q '"NVIDIA_VISIBLE_DEVICES=' "$bundle/config.json"; then
    cat >"$bundle/nvidia-hook" <<'HOOK'
#!/bin/sh
echo "Auto-detected mode as 'legacy'" >&2
echo "nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: cannot open shared object file: no such file or directory" >&2
exit 1
HOOK
    chmod 755 "$bundle/nvidia-hook"
    python3 - "$bundle" <<'PYTHON'
import json, os, sys
path = os.path.join(sys.argv[1], "config.json")
with open(path) as stream:
    spec = json.load(stream)
spec.setdefault("hooks", {}).setdefault("prestart", []).append({"path": os.path.abspath(os.path.join(sys.argv[1], "nvidia-hook"))})
with open(path, "w") as stream:
    json.dump(spec, stream)
PYTHON
fi
exec runc "$@"
