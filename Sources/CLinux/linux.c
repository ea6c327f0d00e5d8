// madvise.
#define _GNU_SOURCE
#include "mote_linux.h"

#include <sys/mman.h>

#ifdef MOTE_DEVICE
// The linker puts them around headers, constants and code.
extern const char __executable_start[], etext[];

void mote_release_code(void) {
  uintptr_t page = (uintptr_t)getpagesize();
  uintptr_t start = (uintptr_t)__executable_start & ~(page - 1);
  // Where code and data share a page, the page is left alone.
  uintptr_t end = (uintptr_t)etext & ~(page - 1);
  // Scripts/build places this function behind the code of daily work. A fault maps what lies around it, too: 64 KB, or
  // since Linux 6.18 as much as the page cache has in one piece, but never beyond the mapping. One part that differs
  // from the other, in advice that means nothing for code, makes two mappings of one, and daily work no longer brings
  // the rest back.
  uintptr_t boundary = ((uintptr_t)mote_release_code + page - 1) & ~(page - 1);
  if (boundary < end) (void)madvise((void *)boundary, end - boundary, MADV_DONTDUMP);
  if (end > start) (void)madvise((void *)start, end - start, MADV_DONTNEED);
}
#else
// Nothing is known of where the code of a host build lies.
void mote_release_code(void) {}
#endif
