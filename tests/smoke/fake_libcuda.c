/* A libcuda.so.1 of our own for machines without a GPU: it answers what the environment says, and computes nothing.
 *
 *   FAKE_CUINIT   what cuInit returns (0)                 FAKE_DRIVER   cuDriverGetVersion (13000)
 *   FAKE_DEVICES  cuDeviceGetCount (1)                    FAKE_CAPABILITY  major*10+minor (86)
 *   FAKE_CONTEXT  what making a context returns (999)     FAKE_MODE     compute mode (0)
 *   FAKE_CRASH    the signal that cuInit raises           FAKE_HANG     seconds that cuInit takes
 *
 * The CUDA runtime gets its functions by cuGetProcAddress; each that is not here is one that returns FAKE_CONTEXT.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int asked(const char *name, int otherwise)
{
    const char *text = getenv(name);
    return text && *text ? atoi(text) : otherwise;
}

int cuInit(unsigned flags)
{
    (void)flags;
    if (asked("FAKE_HANG", 0))
        sleep((unsigned)asked("FAKE_HANG", 0));
    if (asked("FAKE_CRASH", 0))
        raise(asked("FAKE_CRASH", 0));
    return asked("FAKE_CUINIT", 0);
}

int cuDriverGetVersion(int *version)
{
    *version = asked("FAKE_DRIVER", 13000);
    return 0;
}

int cuDeviceGetCount(int *count)
{
    *count = asked("FAKE_DEVICES", 1);
    return 0;
}

int cuDeviceGet(int *device, int at)
{
    *device = at;
    return at < asked("FAKE_DEVICES", 1) ? 0 : 101;
}

int cuDeviceGetName(char *name, int size, int device)
{
    snprintf(name, (size_t)size, "Fake GPU %d", device);
    return 0;
}

int cuDeviceGetAttribute(int *value, int which, int device)
{
    (void)device;
    *value = which == 75 ? asked("FAKE_CAPABILITY", 86) / 10 : which == 76 ? asked("FAKE_CAPABILITY", 86) % 10 : 0;
    if (which == 20)
        *value = asked("FAKE_MODE", 0);
    return 0;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device)
{
    (void)device;
    *bytes = (size_t)24 << 30;
    return 0;
}

int cuDeviceGetUuid_v2(unsigned char *uuid, int device)
{
    memset(uuid, 0x10 + device, 16);
    return 0;
}

int cuDeviceCanAccessPeer(int *can, int one, int other)
{
    *can = one != other;
    return 0;
}

int cuTensorMapEncodeTiled(void)
{
    return asked("FAKE_CONTEXT", 999);
}

static int refused(void)
{
    return asked("FAKE_CONTEXT", 999);
}

static int ok(void)
{
    return 0;
}

int cuGetProcAddress_v2(const char *symbol, void **function, int version, unsigned long flags, int *status)
{
    char newer[256];
    (void)version;
    (void)flags;
    snprintf(newer, sizeof newer, "%s_v2", symbol);
    *function = dlsym(RTLD_DEFAULT, newer);
    if (!*function || strncmp(symbol, "cu", 2))
        *function = dlsym(RTLD_DEFAULT, symbol);
    if (!strcmp(symbol, "cuGetProcAddress"))
        *function = (void *)cuGetProcAddress_v2;
    if (!*function)
        *function = strstr(symbol, "ErrorString") || strstr(symbol, "ErrorName") ? (void *)ok : (void *)refused;
    if (status)
        *status = 0;
    return 0;
}

int cuGetProcAddress(const char *symbol, void **function, int version, unsigned long flags)
{
    return cuGetProcAddress_v2(symbol, function, version, flags, NULL);
}
