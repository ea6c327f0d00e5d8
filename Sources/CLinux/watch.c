// Devices, and sets of descriptors that stay the same from turn to turn.
#include "mote_machine.h"

#include <sys/epoll.h>
#include <sys/syscall.h>

// Not by ioctl(): the C library's has a table of all calls whose structures have changed.
int mote_control_device(int device, uint32_t request, void *structure) {
  return (int)syscall(SYS_ioctl, device, (unsigned long)request, structure);
}

int mote_make_watch(void) { return epoll_create1(EPOLL_CLOEXEC); }

static int change(int set, int operation, int descriptor, uint32_t number, int is_once) {
  struct epoll_event event = {.events = EPOLLIN | (is_once ? (uint32_t)EPOLLONESHOT : 0), .data = {.u64 = number}};
  return epoll_ctl(set, operation, descriptor, &event);
}

int mote_watch(int set, int descriptor, uint32_t number, int is_once) {
  (void)fcntl(descriptor, F_SETFL, O_NONBLOCK);
  return change(set, EPOLL_CTL_ADD, descriptor, number, is_once);
}

int mote_watch_again(int set, int descriptor, uint32_t number) {
  return change(set, EPOLL_CTL_MOD, descriptor, number, 1);
}

int64_t mote_next_watched(int set) {
  struct epoll_event event;
  return epoll_wait(set, &event, 1, 0) == 1 ? (int64_t)event.data.u64 : -1;
}
