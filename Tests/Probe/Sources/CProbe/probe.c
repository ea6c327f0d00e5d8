#include "probe.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static volatile double inputs[] = {3.5, 8, 0.1, 0.2, -2.25, 1e300, 16777217};
static volatile int64_t integers[] = {9007199254740993, -7, 3037000500, 5000000000};

double probe_input(int index) { return inputs[index]; }
int64_t probe_integer(int index) { return integers[index]; }

double probe_mixed(double first, float second, int32_t third, double fourth) {
  return first + second * third + fourth;
}

float probe_half(float value) { return value / 2; }

void probe_print(const char *name, uint64_t bits) {
  printf("%s %016llx\n", name, (unsigned long long)bits);
  fflush(stdout);
}

int64_t probe_file_time(const char *path, int64_t seconds) {
  struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
  struct stat status;
  if (utimensat(AT_FDCWD, path, times, 0) != 0 || stat(path, &status) != 0) return -1;
  return status.st_mtime;
}

int64_t probe_date(int64_t seconds) {
  time_t moment = seconds;
  struct tm date;
  if (gmtime_r(&moment, &date) == NULL || timegm(&date) != seconds) return -1;
  return (date.tm_year + 1900) * 10000LL + (date.tm_mon + 1) * 100 + date.tm_mday;
}

int64_t probe_now(void) { return time(NULL); }
