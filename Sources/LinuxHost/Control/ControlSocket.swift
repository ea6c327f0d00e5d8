// The control socket by system calls, none of which waits.

import Bytes
import CLinux
import HostInterface

extension ControlFailure {
  fileprivate init(_ failure: Errno) {
    switch failure.code {
    case ENOENT, ENOTDIR: self = .notFound
    case EACCES, EPERM: self = .notPermitted
    case EROFS: self = .readOnly
    case EADDRINUSE: self = .inUse
    case EEXIST: self = .notASocket
    case ENAMETOOLONG: self = .pathTooLong
    default: self = .systemError
    }
  }
}

/// The listener and its client.
struct ControlSocket: ~Copyable {
  private let pinned = Pinned()
  private var listener: Int32 = -1
  private var client: Int32 = -1
  /// Whether anything has happened since `takeNews`, and whether clients have come.
  private(set) var hasNews = false
  private var hasArrivals = false

  /// Listens at `path`. May wait for the file system: it is done once, at start.
  mutating func open(
    _ path: Span<UInt8>, owner: Int64, group: Int64, in set: inout PollSet
  ) throws(ControlFailure) {
    let text = PathText(path)
    guard !text.isTooLong else { throw .pathTooLong }
    let code = text.withPointer { mote_open_control($0, owner, group, &listener) }
    guard code == 0 else { throw ControlFailure(Errno(code: code)) }
    listenAgain(in: &set)
  }

  /// Ends everything, and removes the socket's name.
  mutating func close(in set: inout PollSet) {
    guard listener >= 0 else { return }
    closeClient(in: &set)
    mote_close_control(listener)
    listener = -1
    listenAgain(in: &set)
  }

  /// Waits for clients again.
  mutating func listenAgain(in set: inout PollSet) { set.stand(listener, events: POLLIN, at: PollSet.listenerIndex) }

  /// Takes over what `set` has found out.
  @inline(__always)
  mutating func noteReady(in set: inout PollSet) {
    if set.readyEvents(PollSet.listenerIndex) | set.readyEvents(PollSet.clientIndex) != 0 { noteNews(in: &set) }
  }

  @inline(never)  // beside the turns in which no client has anything to say
  private mutating func noteNews(in set: inout PollSet) {
    hasNews = true
    if set.readyEvents(PollSet.listenerIndex) != 0 { hasArrivals = true }
    // Until it has been taken: nobody is waked twice for the same.
    for index in PollSet.listenerIndex...PollSet.clientIndex where set.readyEvents(index) != 0 {
      set.stand(-1, events: 0, at: index)
    }
  }

  /// See `HostControl.takeControlNews`.
  mutating func takeNews() -> Bool {
    defer {
      hasNews = false
      hasArrivals = false
    }
    return hasArrivals
  }

  /// What became of taking the next client.
  enum Accepted {
    /// It is there.
    case taken
    /// None waits.
    case none
    /// One waits, and there is no descriptor for it: it stays unheard until `listenAgain`.
    case noResources
  }

  /// See `HostControl.acceptControlClient`.
  mutating func accept(in set: inout PollSet) -> Accepted {
    precondition(client < 0, "there is one client at a time")
    client = mote_accept_control(listener)
    if client < 0, Errno.last.isShortage, !Errno.last.isWouldBlock { return .noResources }
    listenAgain(in: &set)
    return client >= 0 ? .taken : .none
  }

  /// See `HostControl.receiveControl`.
  mutating func receive(into buffer: inout ByteBuffer, in set: inout PollSet) -> LinkTransfer {
    var free = buffer.freeSpan
    let count = free.withUnsafeMutableBufferPointer { recv(client, $0.baseAddress, $0.count, 0) }
    if count > 0 { buffer.commit(count) }
    return outcome(of: count, awaiting: POLLIN, in: &set)
  }

  /// See `HostControl.sendControl`.
  mutating func send(_ bytes: Span<UInt8>, in set: inout PollSet) -> LinkTransfer {
    let count = bytes.withUnsafeBufferPointer { mote_send(client, $0.baseAddress, $0.count) }
    return outcome(of: count, awaiting: POLLOUT, in: &set)
  }

  @inline(never)
  private func outcome(of count: Int, awaiting events: Int32, in set: inout PollSet) -> LinkTransfer {
    if count > 0 { return .moved(count) }
    guard count < 0, Errno.last.isWouldBlock else { return .ended(count == 0 ? .closedByPeer : .connectionLost) }
    set.stand(client, events: events, at: PollSet.clientIndex)
    return .wouldBlock
  }

  /// See `HostControl.closeControl`.
  mutating func closeClient(in set: inout PollSet) {
    if client >= 0 { System.close(client) }
    client = -1
    set.stand(-1, events: 0, at: PollSet.clientIndex)
  }
}
