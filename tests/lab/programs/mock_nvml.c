/* A mock libnvidia-ml.so.1 for the lab: what NVML says follows from the host's files, as with the real library.
 *
 * Its own version is the end of its file's name (libnvidia-ml.so.550.163.01), so that one build serves as any version. Then:
 *   no /proc/driver/nvidia/version          9  driver not loaded
 *   another version in that file           18  driver/library version mismatch
 *   /dev/nvidiactl or a GPU's node cannot be opened
 *     EACCES (mode, group)                   4  insufficient permissions
 *     ENOENT                                 9  driver not loaded
 *     EPERM (device cgroup) or else        999  unknown error
 * A node without a driver behind it opens with ENXIO, which counts as open. The GPUs are those of /proc/driver/nvidia/gpus.
 *
 * MOCK_NVML_INIT=N makes nvmlInit return N, whatever the host is like; MOCK_NVML_ROOT=DIR is where proc/driver/nvidia is, since a
 * container has its own /proc; MOCK_NVML_PROCESSES="PID:BYTES ..." are the processes on every GPU. Codes, texts and layouts: nvml.h.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };
enum { NOT_LOADED = 9, MISMATCH = 18, ARGUMENT_VERSION = 25, UNKNOWN = 999, MOST = 16 };

typedef struct {
    char pci[16], name[64], uuid[48];
    unsigned minor;
} Gpu;

typedef struct {
    char legacy[16];
    unsigned domain, bus, device, id, subsystem;
    char bus_id[32];
} Pci;

typedef struct {
    unsigned version, pad;
    unsigned long long total, reserved, free, used;
} Memory2;

typedef struct {
    unsigned pid, pad;
    unsigned long long memory;
    unsigned gpu_instance, compute_instance;
} Process;

static Gpu gpus[MOST];
static unsigned count;
static int ready;

static const char *in_proc(const char *name) {
    static char path[PATH_MAX];
    const char *root = getenv("MOCK_NVML_ROOT");
    snprintf(path, sizeof path, "%s/proc/driver/nvidia/%s", root ? root : "", name);
    return path;
}

/* The version in this library's own file name. */
static const char *own_version(void) {
    static char path[PATH_MAX];
    Dl_info info;
    if (!dladdr((void *)own_version, &info) || !realpath(info.dli_fname, path)) return "";
    char *end = strstr(path, ".so.");
    return end ? end + 4 : "";
}

/* The loaded module's version: "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.163.01  ...". */
static int module_version(char *version) {
    FILE *file = fopen(in_proc("version"), "r");
    char line[256] = "";
    if (!file) return 0;
    if (!fgets(line, sizeof line, file)) line[0] = 0;
    fclose(file);
    for (char *word = strtok(line, " \t\n"); word; word = strtok(NULL, " \t\n"))
        if (word[0] >= '1' && word[0] <= '9' && strchr(word, '.') && !strpbrk(word, "x_:")) {
            snprintf(version, 80, "%s", word);
            return 1;
        }
    return 0;
}

static int node(const char *path) {
    int handle = open(path, O_RDWR | O_CLOEXEC);
    if (handle >= 0) {
        close(handle);
        return OK;
    }
    return errno == ENXIO ? OK : errno == EACCES ? NO_PERMISSION : errno == ENOENT ? NOT_LOADED : UNKNOWN;
}

static int by_pci(const void *left, const void *right) { return strcmp(((const Gpu *)left)->pci, ((const Gpu *)right)->pci); }

static void value(const char *line, const char *label, char *into, size_t size) {
    size_t length = strlen(label);
    if (strncmp(line, label, length)) return;
    line += length;
    while (*line == ' ' || *line == '\t') line++;
    snprintf(into, size, "%.*s", (int)strcspn(line, "\n"), line);
}

static void find_gpus(void) {
    count = 0;
    DIR *folder = opendir(in_proc("gpus"));
    if (!folder) return;
    for (struct dirent *each; count < MOST && (each = readdir(folder));) {
        char name[300], line[256], minor[16] = "0";
        if (each->d_name[0] == '.') continue;
        snprintf(name, sizeof name, "gpus/%s/information", each->d_name);
        FILE *file = fopen(in_proc(name), "r");
        if (!file) continue;
        Gpu *gpu = &gpus[count++];
        memset(gpu, 0, sizeof *gpu);
        while (fgets(line, sizeof line, file)) {
            value(line, "Model:", gpu->name, sizeof gpu->name);
            value(line, "GPU UUID:", gpu->uuid, sizeof gpu->uuid);
            value(line, "Bus Location:", gpu->pci, sizeof gpu->pci);
            value(line, "Device Minor:", minor, sizeof minor);
        }
        gpu->minor = (unsigned)atoi(minor);
        fclose(file);
    }
    closedir(folder);
    qsort(gpus, count, sizeof *gpus, by_pci);
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    const char *told = getenv("MOCK_NVML_INIT");
    char version[80], path[32];
    int code = told ? atoi(told) : OK;
    if (!told) {
        if (!module_version(version)) return NOT_LOADED;
        if (strcmp(version, own_version())) return MISMATCH;
        code = node("/dev/nvidiactl");
    }
    if (code) return code;
    find_gpus();
    for (unsigned index = 0; !told && index < count; index++) {
        snprintf(path, sizeof path, "/dev/nvidia%u", gpus[index].minor);
        if ((code = node(path))) return code;
    }
    ready = 1;
    return OK;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlInit(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return OK; }

static int text(char *into, unsigned size, const char *from) {
    if (strlen(from) >= size) return INSUFFICIENT_SIZE;
    strcpy(into, from);
    return OK;
}

const char *nvmlErrorString(int code) {
    switch (code) {
    case OK: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case NO_PERMISSION: return "Insufficient Permissions";
    case NOT_FOUND: return "Not Found";
    case INSUFFICIENT_SIZE: return "Insufficient Size";
    case NOT_LOADED: return "Driver Not Loaded";
    case 12: return "NVML Shared Library Not Found";
    case 15: return "GPU is lost";
    case MISMATCH: return "Driver/library version mismatch";
    case ARGUMENT_VERSION: return "Argument version mismatch";
    default: return "Unknown Error";
    }
}

int nvmlSystemGetNVMLVersion(char *into, unsigned size) {
    char version[80];
    /* The CUDA version that NVML is of stands in front. */
    snprintf(version, sizeof version, "12.%s", own_version());
    return text(into, size, version);
}
int nvmlSystemGetDriverVersion(char *into, unsigned size) {
    char version[80];
    return module_version(version) ? text(into, size, version) : NOT_LOADED;
}
int nvmlSystemGetCudaDriverVersion_v2(int *version) {
    *version = 12040;
    return OK;
}
int nvmlSystemGetCudaDriverVersion(int *version) { return nvmlSystemGetCudaDriverVersion_v2(version); }
int nvmlGetExcludedDeviceCount(unsigned *number) {
    *number = 0;
    return OK;
}

int nvmlDeviceGetCount_v2(unsigned *number) {
    if (!ready) return UNINITIALIZED;
    *number = count;
    return OK;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Gpu **gpu) {
    if (index >= count) return INVALID_ARGUMENT;
    *gpu = &gpus[index];
    return OK;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, Gpu **gpu) {
    for (unsigned index = 0; index < count; index++)
        if (!strcmp(gpus[index].uuid, uuid)) return nvmlDeviceGetHandleByIndex_v2(index, gpu);
    return NOT_FOUND;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, Gpu **gpu) {
    for (unsigned index = 0; index < count; index++)
        /* The domain has four digits in one of them and eight in the other. */
        if (strchr(bus_id, ':') && !strcasecmp(strchr(gpus[index].pci, ':'), strchr(bus_id, ':')))
            return nvmlDeviceGetHandleByIndex_v2(index, gpu);
    return NOT_FOUND;
}
int nvmlDeviceGetIndex(Gpu *gpu, unsigned *index) {
    *index = (unsigned)(gpu - gpus);
    return OK;
}
int nvmlDeviceGetName(Gpu *gpu, char *into, unsigned size) { return text(into, size, gpu->name); }
int nvmlDeviceGetUUID(Gpu *gpu, char *into, unsigned size) { return text(into, size, gpu->uuid); }
int nvmlDeviceGetMinorNumber(Gpu *gpu, unsigned *minor) {
    *minor = gpu->minor;
    return OK;
}
int nvmlDeviceGetPciInfo_v3(Gpu *gpu, Pci *pci) {
    memset(pci, 0, sizeof *pci);
    sscanf(gpu->pci, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device);
    snprintf(pci->legacy, sizeof pci->legacy, "%04X:%02X:%02X.0", pci->domain, pci->bus & 0xff, pci->device & 0xff);
    snprintf(pci->bus_id, sizeof pci->bus_id, "%08X:%02X:%02X.0", pci->domain, pci->bus & 0xff, pci->device & 0xff);
    return OK;
}
int nvmlDeviceGetMemoryInfo(Gpu *gpu, unsigned long long *memory) {
    (void)gpu;
    memory[0] = 24ULL << 30;
    memory[1] = 23ULL << 30;
    memory[2] = 1ULL << 30;
    return OK;
}
int nvmlDeviceGetMemoryInfo_v2(Gpu *gpu, Memory2 *memory) {
    (void)gpu;
    if (memory->version != (sizeof *memory | 2U << 24)) return ARGUMENT_VERSION;
    memory->total = 24ULL << 30;
    memory->reserved = 0;
    memory->free = 23ULL << 30;
    memory->used = 1ULL << 30;
    return OK;
}
int nvmlDeviceGetCudaComputeCapability(Gpu *gpu, int *major, int *minor) {
    (void)gpu;
    *major = 8;
    *minor = 6;
    return OK;
}
int nvmlDeviceGetComputeRunningProcesses_v3(Gpu *gpu, unsigned *number, Process *processes) {
    (void)gpu;
    const char *at = getenv("MOCK_NVML_PROCESSES");
    unsigned found = 0, room = *number, pid;
    unsigned long long memory;
    for (int length; at && sscanf(at, " %u:%llu%n", &pid, &memory, &length) == 2; at += length, found++)
        if (found < room && processes) processes[found] = (Process){pid, 0, memory, UINT_MAX, UINT_MAX};
    *number = found;
    return found > room ? INSUFFICIENT_SIZE : OK;
}
int nvmlDeviceGetComputeMode(Gpu *gpu, int *mode) {
    (void)gpu;
    *mode = 0;
    return OK;
}
int nvmlDeviceGetPersistenceMode(Gpu *gpu, int *mode) {
    (void)gpu;
    *mode = 1;
    return OK;
}

/* What a consumer card does not have. */
#define UNSUPPORTED(name)            \
    int name(void) { return NOT_SUPPORTED; }
UNSUPPORTED(nvmlDeviceGetMigMode)
UNSUPPORTED(nvmlDeviceGetMaxMigDeviceCount)
UNSUPPORTED(nvmlDeviceGetMigDeviceHandleByIndex)
UNSUPPORTED(nvmlDeviceGetEccMode)
UNSUPPORTED(nvmlDeviceGetTotalEccErrors)
UNSUPPORTED(nvmlDeviceGetRemappedRows)
UNSUPPORTED(nvmlDeviceGetRetiredPagesPendingStatus)
UNSUPPORTED(nvmlDeviceGetGpuFabricInfoV)
UNSUPPORTED(nvmlInternalGetExportTable)
