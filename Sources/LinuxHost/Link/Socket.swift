// A connected socket that remembers what poll(2) said, so that nothing is asked of the system in vain.

import Bytes
import CLinux

/// A TCP socket, with a little memory for what was received ahead of time.
///
/// The callbacks of TLS hold a pointer to it, so it lives in start-up memory and never moves.
struct Socket {
  // DEVIATION(unsafe-pointer): a piece of start-up memory.
  private let ahead: UnsafeMutablePointer<UInt8>
  private let aheadCapacity: Int
  private var aheadHead = 0
  private var aheadTail = 0

  /// -1 when there is none.
  private(set) var descriptor: Int32 = -1
  /// Whether receiving (sending) may succeed: poll said so, and since then no transfer came back short.
  private(set) var mayReceive = false
  private(set) var maySend = false
  /// The `errno` of what broke the connection; 0 as long as nothing has.
  private(set) var failureCode: Int32 = 0
  /// Whether the peer has sent anything.
  private(set) var hasReceived = false
  /// Whether the peer takes nothing any more, while what it sent last may still be received.
  private var hasOnlyLastWords = false

  /// What a transfer achieved.
  enum Transfer: Equatable {
    case moved(Int)
    case wouldBlock
    /// The peer has sent everything it will.
    case ended
    case broken
  }

  /// How many bytes TLS receives ahead: a record's header and its body are asked for one after the other, and mostly
  /// arrive together.
  static var aheadBytesMax: Int { 1024 }

  init(ahead: Region) {
    self.ahead = ahead.start.bindMemory(to: UInt8.self, capacity: ahead.count)
    aheadCapacity = ahead.count
  }

  /// Takes over a socket that is being connected.
  mutating func adopt(_ newDescriptor: Int32) {
    descriptor = newDescriptor
    mayReceive = false
    maySend = false
    failureCode = 0
    hasReceived = false
    hasOnlyLastWords = false
    aheadHead = 0
    aheadTail = 0
  }

  /// Takes over what poll(2) found. Errors and hang-ups count as both: the next transfer tells them.
  mutating func note(_ events: Int16) {
    let isOver = Int32(events) & (POLLERR | POLLHUP | POLLNVAL) != 0
    if isOver || Int32(events) & POLLIN != 0 { mayReceive = true }
    if isOver || Int32(events) & POLLOUT != 0 { maySend = true }
  }

  /// Receives into `bytes`, at most one call.
  @inline(never)
  mutating func receive(into bytes: UnsafeMutableBufferPointer<UInt8>) -> Transfer {
    guard mayReceive else { return .wouldBlock }
    do throws(Errno) {
      guard let count = try System.receive(descriptor, into: bytes) else {
        mayReceive = false
        return .wouldBlock
      }
      if count == 0 { return hasOnlyLastWords ? .broken : .ended }
      hasReceived = true
      // Less than there was room for: nothing is left.
      if count < bytes.count { mayReceive = false }
      return .moved(count)
    } catch {
      failureCode = error.code
      return .broken
    }
  }

  /// The same by way of the memory for what comes ahead.
  mutating func receiveAhead(into bytes: UnsafeMutableBufferPointer<UInt8>) -> Transfer {
    if aheadHead == aheadTail {
      guard bytes.count < aheadCapacity else { return receive(into: bytes) }
      let result = receive(into: UnsafeMutableBufferPointer(start: ahead, count: aheadCapacity))
      guard case .moved(let count) = result else { return result }
      aheadHead = 0
      aheadTail = count
    }
    let count = min(bytes.count, aheadTail - aheadHead)
    if let start = bytes.baseAddress { start.update(from: ahead + aheadHead, count: count) }
    aheadHead += count
    return .moved(count)
  }

  /// Sends the beginning of `bytes`, at most one call.
  mutating func send(_ bytes: UnsafeBufferPointer<UInt8>) -> Transfer {
    guard maySend else { return .wouldBlock }
    do throws(Errno) {
      guard let count = try System.send(descriptor, bytes) else {
        maySend = false
        return .wouldBlock
      }
      if count < bytes.count { maySend = false }
      return .moved(count)
    } catch {
      failureCode = error.code
      return .broken
    }
  }

  /// Whether the peer has closed without a word.
  var isUnanswered: Bool {
    !hasReceived && (failureCode == 0 || failureCode == EPIPE || failureCode == ECONNRESET)
  }

  /// After a send that broke: whether the peer has closed, so that it may have said before why.
  mutating func expectLastWords() -> Bool {
    guard failureCode == EPIPE || failureCode == ECONNRESET else { return false }
    hasOnlyLastWords = true
    mayReceive = true
    return true
  }

  /// Closes the socket. With `orderly`, what was sent still arrives: bytes left unread would make the system reset the
  /// connection, so they are read first, as far as they are there and at most 64 KB of them.
  @inline(never)
  mutating func close(orderly: Bool) {
    guard descriptor >= 0 else { return }
    if orderly {
      System.shutDownSending(descriptor)
      mayReceive = true
      for _ in 0..<64 {
        guard case .moved = receive(into: UnsafeMutableBufferPointer(start: ahead, count: aheadCapacity)) else { break }
        mayReceive = true
      }
    }
    System.close(descriptor)
    descriptor = -1
    mayReceive = false
    maySend = false
  }
}
