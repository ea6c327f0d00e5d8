// glibc's own allocator calls, which Swift's Glibc module leaves out.
#include <malloc.h>
