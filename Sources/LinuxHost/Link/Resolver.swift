// Name look-up in a child process: getaddrinfo blocks, and only a process can be ended at a deadline. The child reads
// the resolver's configuration anew each time, and what it allocates goes away with it.

import Bytes
import CLinux
import HostInterface

/// Where a look-up stands.
enum Lookup: Equatable {
  case pending
  /// The addresses are in the list.
  case found
  /// The number is getaddrinfo's (negative) or `errno` (positive); 0 for the deadline.
  case failed(LinkFailure, code: Int32)
}

/// At most one look-up at a time.
struct Resolver: ~Copyable {
  private let pinned = Pinned()
  /// How long a look-up may take.
  static var timeout: TimeSpan { .seconds(10) }

  private var child: pid_t = 0
  /// The end of the pipe to wait on; -1 when none is being looked up.
  private(set) var descriptor: Int32 = -1
  private(set) var deadline = Instant(milliseconds: 0)
  /// Children that were killed but have not gone yet: mostly for some microseconds. One that hangs in the kernel stays.
  private var dyingChildren = InlineArray<4, pid_t>(repeating: 0)

  /// Begins to look `host` up. A numeric address is understood at once, without a child.
  mutating func start(_ host: borrowing CText, now: Instant, addresses: inout FixedArray<mote_address>) -> Lookup {
    stop()
    var answer = mote_lookup_answer()
    mote_parse_address(host.start, &answer)
    if answer.count > 0 {
      interleave(answer, into: &addresses)
      return .found
    }
    tidyUp()
    guard dyingCount < dyingChildren.count else { return .failed(.nameTimeout, code: 0) }
    child = mote_start_lookup(host.start, UInt32(Resolver.timeout.milliseconds / 1000) + 1, &descriptor)
    guard child > 0 else {
      child = 0
      return .failed(.nameTimeout, code: mote_errno())
    }
    deadline = now + Resolver.timeout
    return .pending
  }

  /// Asks for the answer without waiting.
  mutating func poll(now: Instant, addresses: inout FixedArray<mote_address>) -> Lookup {
    guard child > 0 else { return .failed(.nameNotFound, code: 0) }
    var answer = mote_lookup_answer()
    let size = MemoryLayout<mote_lookup_answer>.size
    let count = withUnsafeMutableBytes(of: &answer) { read(descriptor, $0.baseAddress, size) }
    if count < 0, mote_errno() == EAGAIN || mote_errno() == EINTR {
      guard now >= deadline else { return .pending }
      stop()
      return .failed(.nameTimeout, code: 0)
    }
    stop()
    // The child died without an answer.
    guard count == size else { return .failed(.nameTimeout, code: 0) }
    guard answer.count > 0 else { return .failed(Resolver.failure(of: answer.count), code: answer.count) }
    interleave(answer, into: &addresses)
    return .found
  }

  /// Ends the look-up, if there is one.
  mutating func stop() {
    guard child > 0 else { return }
    System.close(descriptor)
    descriptor = -1
    // Harmless if it has ended by itself: until it is reaped, its number belongs to it.
    _ = kill(child, SIGKILL)
    for index in dyingChildren.indices where dyingChildren[index] == 0 {
      dyingChildren[index] = child
      break
    }
    child = 0
    tidyUp()
  }

  /// Reaps the killed children that have gone by now.
  mutating func tidyUp() {
    for index in dyingChildren.indices where dyingChildren[index] != 0 {
      if System.reap(dyingChildren[index]) { dyingChildren[index] = 0 }
    }
  }

  /// How many killed children have not gone yet.
  var dyingCount: Int {
    var count = 0
    for index in dyingChildren.indices where dyingChildren[index] != 0 { count += 1 }
    return count
  }

  /// Whether getaddrinfo's number says that the name has no address, rather than that nobody could tell.
  private static func failure(of code: Int32) -> LinkFailure {
    switch code {
    case EAI_NONAME, EAI_FAIL, EAI_FAMILY, mote_eai_no_data(): .nameNotFound
    default: .nameTimeout
    }
  }
}

/// Fills `addresses` in the resolver's order of preference, but taking turns between IPv6 and IPv4 (RFC 8305 4), so
/// that a network without one of them costs one failed attempt and not many.
func interleave(_ answer: mote_lookup_answer, into addresses: inout FixedArray<mote_address>) {
  var answer = answer
  addresses.removeAll()
  let count = min(max(Int(answer.count), 0), Int(MOTE_ADDRESSES_MAX))
  withUnsafeBytes(of: &answer.addresses) { bytes in
    let all = bytes.bindMemory(to: mote_address.self)
    guard count > 0 else { return }
    let preferred = all[0].byte_count
    var next = (0, 0)
    // Each turn takes one address of either kind or finds that the kind has none left.
    for turn in 0..<(2 * count) {
      let isPreferredTurn = turn % 2 == 0
      var index = isPreferredTurn ? next.0 : next.1
      while index < count, (all[index].byte_count == preferred) != isPreferredTurn { index += 1 }
      if index < count { _ = addresses.append(all[index]) }
      if isPreferredTurn { next.0 = index + 1 } else { next.1 = index + 1 }
    }
  }
}
