#!/bin/sh
# A stand-in for nvidia-modprobe -u: "loads" nvidia-uvm, which gets a major in the file that is this host's /proc/devices, and makes its nodes.
grep -q nvidia-uvm MAJORS || sed 's/^226 drm/226 drm\n507 nvidia-uvm/' /proc/devices | tee MAJORS.new >/dev/null
[ ! -e MAJORS.new ] || { cat MAJORS.new >MAJORS && rm MAJORS.new; }
[ -e /dev/nvidia-uvm ] || mknod -m 666 /dev/nvidia-uvm c 507 0
[ -e /dev/nvidia-uvm-tools ] || mknod -m 666 /dev/nvidia-uvm-tools c 507 1
