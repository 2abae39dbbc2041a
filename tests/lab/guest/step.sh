#!/bin/bash
# Runs once in each boot of the guest: what it prints with @@ in front is what tests/lab/boot.py looks at. The number of the boot is in
# /lab/boot. Every daemon, unit, kernel and boot loader here is real; only the GPU is not (nodes without a driver behind them).
cd /lab || exit 1
export NO_COLOR=1 PYTHONPATH=/lab/python PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin
boot=$(($(cat boot) + 1))
echo $boot >boot
sync
tell() { echo "@@ $boot $*"; }
gpudoctor() { python3 -m gpudoctor "$@"; }
# What a container finds when it opens the GPU's node: ENXIO is allowed (there is no driver), EPERM is refused.
opened() { docker exec "$1" sh -c ': </dev/nvidia0' 2>&1 | grep -o 'No such device or address\|Operation not permitted' | head -n 1; }
start() { docker run -d --name "$1" --network none --device /dev/nvidia0 --device /dev/nvidiactl probe sleep 1000 >/dev/null || tell error "$1 does not start"; }
only() { gpudoctor doctor --only "$1" | grep -c "\[$1\]"; }

tell hierarchy "$(stat -fc %T /sys/fs/cgroup)"
tell asked "$(grep -o 'systemd.unified_cgroup_hierarchy=[^ ]*' /proc/cmdline || echo nothing)"
tell tainted "$(systemctl show -p Tainted --value)"
python3 fake.py || tell error "no fake GPU"
grub=toolkit/cgroupv2-old-libnvidia-container
loss=docker/daemon-reload-loses-gpu
case $boot in
1)
    systemctl start docker || tell error "docker does not start"
    tar -C /lab/image -c . | docker import - probe >/dev/null
    tell docker "$(docker info --format '{{.ServerVersion}} {{.CgroupDriver}} {{.CgroupVersion}}')"
    tell runc "$(runc --version | head -n 1)"
    tell loss-named-before "$(only $loss)"
    start without-links
    tell before "$(opened without-links)"
    tell scope "$(systemctl show -p DeviceAllow "docker-$(docker inspect -f '{{.Id}}' without-links).scope" | grep -c 195:0)"
    systemctl daemon-reload
    tell lost "$(opened without-links)"
    docker rm -f without-links >/dev/null
    # The first cure: the links, by which this runc tells systemd of the nodes.
    ln -s ../nvidia0 /dev/char/195:0
    ln -s ../nvidiactl /dev/char/195:255
    start with-links
    systemctl daemon-reload
    tell kept-by-links "$(opened with-links)"
    docker rm -f with-links >/dev/null
    rm /dev/char/195:0 /dev/char/195:255
    # The second cure, by gpudoctor: what it makes of this host, a real restart, and all taken back.
    cp /etc/docker/daemon.json before.json
    gpudoctor fix $loss --apply --yes --allow-restart
    tell cure-rc $?
    tell cured-driver "$(docker info --format '{{.CgroupDriver}}')"
    start cured
    systemctl daemon-reload
    tell kept-by-fix "$(opened cured)"
    tell loss-named-after "$(only $loss)"
    docker rm -f cured >/dev/null
    gpudoctor undo --yes --allow-restart
    tell cure-undone "$(cmp /etc/docker/daemon.json before.json && echo same)"
    systemctl stop docker docker.socket
    # The kernel argument of 2021, on a host where it is right.
    cp -r /etc/default before-default
    gpudoctor fix $grub
    gpudoctor fix $grub --apply --yes
    tell grub-rc $?
    tell grub-cfg "$(grep -c '^[[:space:]]*linux.*systemd.unified_cgroup_hierarchy=0' /boot/grub/grub.cfg)"
    tell still-found "$(only $grub)"
    tell waits "$(only host/waits-for-reboot)"
    ;;
2)
    tell still-found "$(only $grub)"
    tell waits "$(only host/waits-for-reboot)"
    tell devices-v1 "$(test -d /sys/fs/cgroup/devices && echo there)"
    gpudoctor undo --yes
    tell undo-rc $?
    tell grub-cfg "$(grep -c '^[[:space:]]*linux.*systemd.unified_cgroup_hierarchy=0' /boot/grub/grub.cfg)"
    tell default "$(diff -r /etc/default before-default && echo same)"
    tell waits "$(only host/waits-for-reboot)"
    ;;
3)
    tell found-again "$(only $grub)"
    ;;
esac
tell end
sync
systemctl poweroff
