// madvise.
#define _GNU_SOURCE
#include "mote_linux.h"

#include <sys/mman.h>
#include <sys/resource.h>

// Below here no frame of a running process reaches; where the stack is smaller, there is nothing to be let go of.
enum { STACK_BYTES_MAX = 256 * 1024 };
// What a function may use below its frame without saying so (128 bytes on x86_64), and the frame of madvise.
enum { STACK_BYTES_IN_USE = 1024 };

void mote_release_stack(void) {
  uintptr_t page = (uintptr_t)getpagesize();
  uintptr_t end = ((uintptr_t)__builtin_frame_address(0) - STACK_BYTES_IN_USE) & ~(page - 1);
  // Pages that are not mapped make it fail, after it has dealt with those that are.
  (void)madvise((void *)(end - STACK_BYTES_MAX), STACK_BYTES_MAX, MADV_DONTNEED);
}

int mote_stack_may_have(size_t byte_count) {
  struct rlimit limit;
  return getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur >= byte_count;
}

#ifdef MOTE_DEVICE
// The linker puts them around headers, constants and code.
extern const char __executable_start[], etext[];

// Marks, never called: Scripts/build places the first before all code, each other one behind the part that it is named
// after (Scripts/sdk/code-order). They differ, because the linker would make one of equal functions.
int mote_mark_begin(void) { return 0; }
int mote_mark_daily(void) { return 1; }
int mote_mark_records(void) { return 2; }
int mote_mark_occasional(void) { return 3; }
int mote_mark_start(void) { return 4; }

// A fault maps what lies around it, too: 64 KB, or since Linux 6.18 as much as the page cache has in one piece, but
// never beyond the mapping. Advice that means nothing for code and constants makes mappings of their own out of parts.
static void set_apart(uintptr_t start, uintptr_t end) {
  if (start < end) (void)madvise((void *)start, end - start, MADV_DONTDUMP);
}

// Of the page behind a mark. Not from a table, whose addresses would be written when the program starts.
static __attribute__((noinline)) uintptr_t boundary(int (*mark)(void)) {
  uintptr_t page = (uintptr_t)getpagesize();
  return ((uintptr_t)mark + page - 1) & ~(page - 1);
}

void mote_release_code(void) {
  uintptr_t page = (uintptr_t)getpagesize();
  uintptr_t start = (uintptr_t)__executable_start & ~(page - 1);
  // Where code and data share a page, the page is left alone.
  uintptr_t end = (uintptr_t)etext & ~(page - 1);
  uintptr_t boundaries[] = {boundary(mote_mark_begin), boundary(mote_mark_daily), boundary(mote_mark_records),
                            boundary(mote_mark_occasional), boundary(mote_mark_start)};
  // Every second part, so that each differs from its neighbours. Of the constants daily work needs some dozens of
  // bytes, anywhere: there each page is a part.
  for (uintptr_t odd = start + page; odd < boundaries[0] - page; odd += 2 * page) set_apart(odd, odd + page);
  set_apart(boundaries[1], boundaries[2]);
  set_apart(boundaries[3], boundaries[4]);
  if (end > start) (void)madvise((void *)start, end - start, MADV_DONTNEED);
}
#if !defined(__arm__)
// Valgrind, which measures on the other machines, reads no names in a program without initialised data. There a page of
// the file is not scarce.
__attribute__((used, retain)) static int has_data = 1;
#endif
#else
// Nothing is known of where the code of a host build lies.
void mote_release_code(void) {}
#endif
