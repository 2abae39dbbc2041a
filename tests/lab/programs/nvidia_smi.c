/* A stand-in for nvidia-smi: `nvidia-smi -L` by libnvidia-ml.so.1, and the real program's words and exit codes where that fails.
 *
 * The real one (550.163.01) wants NVML's internal tables where all is well, which mock_nvml.c has not; where NVML does not
 * start it runs with the mock, and tests/lab/test_driver_scenarios.py holds this one to its words.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static void *library;

#define ASK(name, ...) ((int (*)())dlsym(library, name))(__VA_ARGS__)

static int failed(int code) {
    static const int own[] = {2, 3, 4, 6, 8, 9, 11, 12, 13, 15, 17, 18, 19, 23};
    char version[96] = "";
    if (code == 9) {
        puts("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver "
             "is installed and running.\n");
    } else if (code == 12) {
        puts("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure that the NVIDIA Display Driver is "
             "properly installed and present in your system.\n"
             "Please also try adding directory that contains libnvidia-ml.so to your system PATH.");
    } else {
        const char *(*says)(int) = (const char *(*)(int))dlsym(library, "nvmlErrorString");
        printf("Failed to initialize NVML: %s\n", says(code));
        if (code == 18) {
            /* "12.550.163.01" is printed as 550.163 */
            ASK("nvmlSystemGetNVMLVersion", version, (unsigned)sizeof version);
            char *start = strchr(version, '.'), *end = start ? strchr(start + 1, '.') : NULL;
            if (end && (end = strchr(end + 1, '.'))) *end = 0;
            printf("NVML library version: %s\n", start ? start + 1 : version);
        }
    }
    for (unsigned each = 0; each < sizeof own / sizeof *own; each++)
        if (own[each] == code) return code;
    return 255;
}

int main(void) {
    unsigned number = 0;
    library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    if (!library) return failed(12);
    int code = ASK("nvmlInitWithFlags", 0U);
    if (code) return failed(code);
    ASK("nvmlDeviceGetCount_v2", &number);
    for (unsigned index = 0; index < number; index++) {
        void *gpu = NULL;
        char name[96] = "", uuid[96] = "";
        ASK("nvmlDeviceGetHandleByIndex_v2", index, &gpu);
        ASK("nvmlDeviceGetName", gpu, name, (unsigned)sizeof name);
        ASK("nvmlDeviceGetUUID", gpu, uuid, (unsigned)sizeof uuid);
        printf("GPU %u: %s (UUID: %s)\n", index, name, uuid);
    }
    return 0;
}
