/* Makes the wall clock of a process wrong, by as many milliseconds as the file that SKEW_FILE names says: for the
 * tests of clocks that differ or jump. Loaded with LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long long skew_millis(void) {
    static const char *path;
    if (path == NULL) {
        path = getenv("SKEW_FILE");
        if (path == NULL) {
            return 0;
        }
    }
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return 0;
    }
    char text[32] = {0};
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    return length > 0 ? atoll(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int outcome = (int)syscall(SYS_clock_gettime, clock, time);
    if (outcome == 0 && clock == CLOCK_REALTIME) {
        long long nanos = time->tv_nsec + (skew_millis() % 1000) * 1000000LL;
        time->tv_sec += skew_millis() / 1000 + nanos / 1000000000LL;
        nanos %= 1000000000LL;
        if (nanos < 0) {
            nanos += 1000000000LL;
            time->tv_sec -= 1;
        }
        time->tv_nsec = nanos;
    }
    return outcome;
}
