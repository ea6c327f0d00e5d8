// Name look-up in child processes: getaddrinfo blocks, and only a process can be ended at a deadline. There is one for
// each family, because getaddrinfo for both fails when a name server answers for one only, as many routers do. The
// children read the resolver's configuration anew each time, and what they allocate goes away with them.

import Bytes
import CLinux
import HostInterface

/// Where a look-up stands.
enum Lookup: Equatable {
  case pending
  /// There are new addresses in the list; more may follow as long as the resolver is at work.
  case found
  /// The number is getaddrinfo's (negative) or `errno` (positive); 0 for the deadline.
  case failed(LinkFailure, code: Int32)
}

/// At most one look-up at a time.
struct Resolver: ~Copyable {
  private let pinned = Pinned()
  /// How long a look-up may take.
  static var timeout: TimeSpan { .seconds(10) }
  /// How long the addresses of one family wait for those of the other (RFC 8305 3). Later ones are not lost: they come
  /// behind.
  static var patience: TimeSpan { .milliseconds(50) }
  /// How many addresses there can be.
  static var addressesMax: Int { Int(MOTE_LOOKUPS) * Int(MOTE_ADDRESSES_MAX) }

  /// By family; 0 where none is at work. One that has answered is ended at once.
  private var children = InlineArray<2, pid_t>(repeating: 0)
  /// The end of the pipe to wait on; -1 when none is being looked up.
  private(set) var descriptor: Int32 = -1
  /// When to ask for the answer even if nothing has come.
  private(set) var deadline = Instant(milliseconds: 0)
  private var lookupEnd = Instant(milliseconds: 0)
  /// Why the families that were answered have no address. That nobody could tell outweighs that there is none.
  private var failure: (LinkFailure, code: Int32)?
  /// Children that were killed but have not gone yet: mostly for some microseconds. One that hangs in the kernel stays.
  private var dyingChildren = InlineArray<8, pid_t>(repeating: 0)

  /// Begins to look `host` up. A numeric address is understood at once, without a child.
  mutating func start(_ host: borrowing CText, now: Instant, addresses: inout FixedArray<mote_address>) -> Lookup {
    stop()
    if let address = numericAddress(host) {
      _ = addresses.append(address)
      return .found
    }
    tidyUp()
    guard dyingCount + children.count <= dyingChildren.count else { return .failed(.nameTimeout, code: 0) }
    let seconds = UInt32(Resolver.timeout.milliseconds / 1000) + 1
    var started = children
    var places = started.mutableSpan
    let result = places.withUnsafeMutableBufferPointer { places -> Int32 in
      guard let first = places.baseAddress else { return -1 }
      return mote_start_lookup(host.start, seconds, &descriptor, first)
    }
    guard result == 0 else { return .failed(.nameTimeout, code: mote_errno()) }
    children = started
    failure = nil
    lookupEnd = now + Resolver.timeout
    deadline = lookupEnd
    return .pending
  }

  /// Whether an answer may come yet.
  var isAtWork: Bool { descriptor >= 0 }

  /// Asks for the answers without waiting. Addresses from `first` on have not been tried: new ones take turns with
  /// them.
  mutating func poll(now: Instant, from first: Int, addresses: inout FixedArray<mote_address>) -> Lookup {
    guard isAtWork else { return .failed(.nameNotFound, code: 0) }
    // An answer of each child, and the end.
    for _ in 0...children.count {
      guard take(now: now, from: first, addresses: &addresses) else { break }
    }
    if isAtWork, now >= lookupEnd {
      stop()
      failure = (.nameTimeout, code: 0)
    }
    if addresses.count > first {
      guard !isAtWork || now >= deadline else { return .pending }
      deadline = lookupEnd
      return .found
    }
    guard !isAtWork else { return .pending }
    guard let failure else { return .failed(.nameTimeout, code: 0) }
    return .failed(failure.0, code: failure.code)
  }

  /// Takes one answer; false if there is none yet, or none will come any more.
  private mutating func take(now: Instant, from first: Int, addresses: inout FixedArray<mote_address>) -> Bool {
    guard isAtWork else { return false }
    var answer = mote_lookup_answer()
    let size = MemoryLayout<mote_lookup_answer>.size
    let count = withUnsafeMutableBytes(of: &answer) { read(descriptor, $0.baseAddress, size) }
    if count < 0, mote_errno() == EAGAIN || mote_errno() == EINTR { return false }
    let child = Int(answer.child)
    guard count == size, child < children.count else {
      // A child died without an answer.
      stop()
      failure = (.nameTimeout, code: 0)
      return false
    }
    end(child)
    if answer.count > 0 {
      interleave(&answer, into: &addresses, from: first)
      deadline = min(lookupEnd, now + Resolver.patience)
    } else {
      let new = Resolver.failure(of: answer.count)
      if failure == nil || new == .nameTimeout { failure = (new, code: answer.count) }
    }
    if children[0] == 0, children[1] == 0 { stop() }
    return true
  }

  /// Ends the look-up, if there is one.
  @inline(never)
  mutating func stop() {
    guard isAtWork else { return }
    System.close(descriptor)
    descriptor = -1
    for index in children.indices { end(index) }
    tidyUp()
  }

  /// Ends one child.
  @inline(never)
  private mutating func end(_ index: Int) {
    guard children[index] > 0 else { return }
    // Harmless if it has ended by itself: until it is reaped, its number belongs to it.
    _ = kill(children[index], SIGKILL)
    for place in dyingChildren.indices where dyingChildren[place] == 0 {
      dyingChildren[place] = children[index]
      break
    }
    children[index] = 0
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

/// Adds the addresses of one family to those of the other that begin at `first`. They take turns, IPv6 first (RFC 8305
/// 4), so that a network without one of them costs one failed attempt and not many.
func interleave(
  _ answer: inout mote_lookup_answer, into addresses: inout FixedArray<mote_address>, from first: Int
) {
  let others = addresses.count - first
  let isFirst = answer.child == UInt32(MOTE_LOOKUP_IPV6)
  let count = Int(answer.count)
  withUnsafeBytes(of: &answer.addresses) { bytes in
    let all = bytes.bindMemory(to: mote_address.self)
    for index in 0..<min(max(count, 0), all.count) {
      guard addresses.append(all[index]) else { return }
      guard index < others else { continue }
      // It moves up to its place, and those behind it move down.
      let place = first + 2 * index + (isFirst ? 0 : 1)
      var last = addresses.count - 1
      while last > place {
        addresses[last] = addresses[last - 1]
        last -= 1
      }
      addresses[place] = all[index]
    }
  }
}
