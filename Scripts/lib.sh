# shellcheck shell=bash
# What the scripts share. Sourced, never run.
# shellcheck disable=SC2034  # what is set here is used there
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
BUILD=$ROOT/build
BUNDLE=$BUILD/sdk/mote.artifactbundle
# Every architecture `mote` is built for, in the order in which tables show them.
ARCHS=(x86_64 aarch64 armv7 armv6)

say() { printf '%s\n' "$*"; }
die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# The facts of one architecture, as variables.
#   triple  what Swift calls it       clang  what mbedTLS is compiled for
#   debian  Debian's name             gnu    the name of Debian's library folder
#   cpu     code generation flags that clang and Swift's clang importer share
select_arch() {
  cpu=()
  case $1 in
    x86_64)
      triple=x86_64-unknown-none-elf clang=x86_64-linux-musl
      debian=amd64 gnu=x86_64-linux-gnu
      ;;
    aarch64)
      triple=aarch64-none-none-elf clang=aarch64-linux-musl
      debian=arm64 gnu=aarch64-linux-gnu
      ;;
    armv7)
      # Thumb-2: a third smaller than ARM code. What every ARMv7-A with hard float has of floating point, as Debian
      # takes it, too: some have no NEON. Swift obeys the flags as well.
      cpu=(-mthumb -mfpu=vfpv3-d16)
      triple=armv7-none-none-eabihf clang=armv7-linux-musleabihf
      debian=armhf gnu=arm-linux-gnueabihf
      ;;
    armv6)
      # Soft float: runs on every ARM11 and newer, with or without a floating-point unit.
      triple=armv6-none-none-eabi clang=armv6-linux-musleabi
      debian=armel gnu=arm-linux-gnueabi
      ;;
    *) die "unknown architecture '$1'; known: ${ARCHS[*]}" ;;
  esac
}

# This machine's own architecture.
own_arch() {
  case $(uname -m) in
    x86_64 | aarch64) uname -m ;;
    armv7l) echo armv7 ;;
    armv6l) echo armv6 ;;
    *) die "no device build for this machine ($(uname -m)); name one of: ${ARCHS[*]}" ;;
  esac
}

# Finds the Swift toolchain; sets SWIFT_BIN (its programs), SWIFT_LIB (its lib/swift) and SWIFT_VERSION.
find_swift() {
  local info
  command -v swiftc >/dev/null \
    || die "Swift is missing: no 'swiftc' in PATH. Install Swift 6.3 for Linux and put its usr/bin into PATH."
  info=$(swiftc -print-target-info) || die "'swiftc -print-target-info' failed"
  SWIFT_VERSION=$(sed -n 's/.*"compilerVersion": "\(.*\)".*/\1/p' <<<"$info" | head -n 1)
  case $SWIFT_VERSION in
    *"Swift version 6.3"[!0-9]*) ;;
    *) die "Swift 6.3 is needed (the Embedded standard library changes with each release); found: $SWIFT_VERSION" ;;
  esac
  SWIFT_LIB=$(sed -n 's/.*"runtimeResourcePath": "\(.*\)".*/\1/p' <<<"$info")
  # Not the folder of `swiftc` itself: that may be a version manager's link.
  SWIFT_BIN=$(cd "$SWIFT_LIB/../../bin" && pwd -P)
  [[ -d $SWIFT_LIB/embedded ]] || die "this Swift has no Embedded standard library ($SWIFT_LIB/embedded)"
}

# hash_of WORD-OR-FILE…: one hash of the words, and of the contents of those that are files.
hash_of() {
  local word
  for word; do
    if [[ -f $word ]]; then cat "$word"; else printf '%s\n' "$word"; fi
  done | sha256sum | cut -c 1-16
}

# A stamp says which recipe made a folder. A folder with an old stamp, or none, is made again.
is_stamped() { [[ -f $1 && $(<"$1") == "$2" ]]; }
