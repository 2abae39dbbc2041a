#!/bin/sh
# A stand-in for nvidia-smi in a container: it opens the node that the real one opens first, and says what the real one says then.
error=$({ : </dev/nvidiactl; } 2>&1)
case $error in
*"not permitted"*) echo "$error" && echo "Failed to initialize NVML: Unknown Error" && exit 255 ;;
*"such device"*) echo "$error" ;;
esac
echo "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running."
exit 9
