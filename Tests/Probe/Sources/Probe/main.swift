// Prints results of arithmetic and of time as `NAME BITS`, the bits in hexadecimal.

import CProbe

/// One result.
func show(_ name: StaticString, _ value: Double) { show(name, bits: value.bitPattern) }
/// One result.
func show(_ name: StaticString, _ value: Float) { show(name, bits: UInt64(value.bitPattern)) }
/// One result.
func show(_ name: StaticString, _ value: Int64) { show(name, bits: UInt64(bitPattern: value)) }
/// One result.
func show(_ name: StaticString, bits: UInt64) {
  name.utf8Start.withMemoryRebound(to: CChar.self, capacity: name.utf8CodeUnitCount) { probe_print($0, bits) }
}

let (a, b, tenth, fifth) = (probe_input(0), probe_input(1), probe_input(2), probe_input(3))
let (negative, huge, odd) = (probe_input(4), probe_input(5), probe_input(6))

// In Swift, with values that come out of C.
show("sum", a + b)
show("tenths", tenth + fifth)
show("quotient", b / a)
show("product", negative * tenth)
show("overflow", huge * huge)
show("root", b.squareRoot())
show("float", Float(tenth) * Float(a))
show("rounding", Float(odd))
show("from-integer", Double(probe_integer(0)))
show("to-integer", Int64(huge / 1e290))

// In C, with values that come out of Swift: the calling convention decides about the registers.
show("mixed", probe_mixed(a, Float(fifth), 7, negative))
show("half", probe_half(Float(a)))
show("power", pow(a, 2.0))
show("remainder", fmod(b, a))
show("scaled", ldexp(negative, 5))
show("parsed", strtod("-1234.5678e-3", nil))

// Whole numbers of 64 bits on a machine of 32.
show("division", probe_integer(3) / probe_integer(1))
show("modulo", probe_integer(3) % probe_integer(1))
let wide = probe_integer(2).multipliedReportingOverflow(by: probe_integer(2))
show("wide", wide.partialValue)
show("wide-overflow", Int64(wide.overflow ? 1 : 0))

// The C library's own, which is ours on 32-bit ARM.
probe_divisions()
probe_copies()

// Values that methods change, twice each: see Cursor.swift.
let closed = closedTwice()
show("closed-position", Int64(closed.position))
show("closed-depth", Int64(closed.depth))
let skipped = skippedTwice()
show("skipped-position", Int64(skipped.position))
show("skipped-depth", Int64(skipped.depth))
show("skipped-count", Int64(skipped.count))

// Time behind 19 January 2038.
show("time-bytes", Int64(MemoryLayout<time_t>.size))
show("date", probe_date(probe_integer(3)))
show("now", probe_now())
show("file-time", probe_file_time("probe-file", probe_integer(3)))

// Not of this machine's arithmetic alone, but nothing else runs on every architecture.
probe_curve25519()
