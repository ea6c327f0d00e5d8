// System calls of the link. All sockets and pipes are non-blocking and close on exec.

import CLinux

extension System {
  /// socket(2): a TCP socket for `address`. Cannot be interrupted.
  static func openSocket(for address: mote_address) throws(Errno) -> Int32 {
    let descriptor = mote_open_socket(address.byte_count)
    guard descriptor >= 0 else { throw .last }
    return descriptor
  }

  /// connect(2): begins to connect; true when that is done already. An interrupted call goes on in the background like
  /// one that has to wait, so it is not repeated (POSIX).
  static func connect(_ descriptor: Int32, to address: mote_address, port: UInt16) throws(Errno) -> Bool {
    var address = address
    if mote_connect(descriptor, &address, port) == 0 { return true }
    let failure = Errno.last
    guard failure.code == EINPROGRESS || failure.code == EINTR else { throw failure }
    return false
  }

  /// getsockopt(2) of SO_ERROR: throws what a connection attempt ended with.
  static func checkConnected(_ descriptor: Int32) throws(Errno) {
    let code = mote_socket_error(descriptor)
    guard code == 0 else { throw Errno(code: code) }
  }

  /// setsockopt(2) of TCP_NODELAY. A system that refuses it is slower, no more: failures are ignored.
  static func setNoDelay(_ descriptor: Int32) {
    _ = mote_set_no_delay(descriptor)
  }

  /// recv(2): up to `bytes.count` bytes, often fewer; 0 at the end; nil when nothing is there now. Repeated when
  /// interrupted, which a call that never waits can hardly be.
  static func receive(
    _ descriptor: Int32, into bytes: UnsafeMutableBufferPointer<UInt8>
  ) throws(Errno) -> Int? {
    // DEVIATION(unsafe-pointer): the system writes into memory.
    var result = recv(descriptor, bytes.baseAddress, bytes.count, 0)
    if result < 0, mote_errno() == EINTR { result = recv(descriptor, bytes.baseAddress, bytes.count, 0) }
    if result >= 0 { return result }
    return try nilIfNotNow()
  }

  /// send(2) without SIGPIPE: as much of `bytes` as there is room for; nil when there is none now. Repeated when
  /// interrupted.
  static func send(_ descriptor: Int32, _ bytes: UnsafeBufferPointer<UInt8>) throws(Errno) -> Int? {
    // DEVIATION(unsafe-pointer): the system reads from memory.
    var result = mote_send(descriptor, bytes.baseAddress, bytes.count)
    if result < 0, mote_errno() == EINTR { result = mote_send(descriptor, bytes.baseAddress, bytes.count) }
    if result >= 0 { return result }
    return try nilIfNotNow()
  }

  private static func nilIfNotNow() throws(Errno) -> Int? {
    let failure = Errno.last
    // POSIX allows either number.
    guard failure.code == EAGAIN || failure.code == EWOULDBLOCK else { throw failure }
    return nil
  }

  /// shutdown(2) of the sending side: the peer reads the end behind everything sent before. Failures are ignored, for
  /// the connection ends anyway.
  static func shutDownSending(_ descriptor: Int32) {
    _ = mote_shut_down_sending(descriptor)
  }

  /// waitpid(2) without waiting: whether child `process` is gone for good. Cannot be interrupted.
  static func reap(_ process: pid_t) -> Bool {
    var status: Int32 = 0
    // ECHILD: somebody else has reaped it.
    return waitpid(process, &status, WNOHANG) != 0
  }
}
