// What a build knows about itself.
#pragma once
#include <stdint.h>

// The one place that says which version this is.
#define MOTE_VERSION_TEXT "0.1.0"

// Scripts/build passes the time of the commit. Other builds have this one, 2026-01-01 00:00:00 UTC.
#ifndef MOTE_BUILD_TIME
#define MOTE_BUILD_TIME 1767225600
#endif

/// The version, as ASCII text with a terminating zero.
static inline const char *mote_version(void) { return MOTE_VERSION_TEXT; }

/// When this was built, in seconds since 1970. No clock that is right shows an earlier time.
static inline int64_t mote_build_time(void) { return MOTE_BUILD_TIME; }
