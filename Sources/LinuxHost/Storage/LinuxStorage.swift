// Durable storage of the machine: a child of its own for each operation.
//
// fsync(2) of a card that is busy with itself takes seconds, and of one that is dying minutes, in the kernel, whatever
// one does. So the loop never touches the flash. A fork gives an operation a copy of all it needs, the caller's bytes
// above all; it does the whole sequence, says by its exit status what became of it, and what it has read is in a file
// in memory that it shares with us. Storing is rare, and a fork costs a fraction of what flushing does.

import Bytes
import CLinux
import HostInterface
import Storage

/// The state folder of this machine, as seen from the loop.
public struct LinuxStorage: ~Copyable, HostStorage {
  /// Nil where nothing is kept.
  let folder: CString?
  private var desk = StorageDesk()
  /// The child of the operation that is under way or was given up.
  private var process: pid_t = 0
  /// What it reads; -1 without.
  private var reply: Int32 = -1
  private var timeLimit = Instant(milliseconds: 0)
  private let timeMax: TimeSpan

  /// Keeps everything in the folder at `path`, which must be there. Without a path there is nothing, and nothing can be
  /// kept.
  ///
  /// - Parameters:
  ///   - path: a C string that lives as long as the process.
  ///   - timeMax: how long an operation may take.
  public init(folder path: UnsafePointer<CChar>?, timeMax: TimeSpan = StorageLimits.timeMax) {
    // DEVIATION(unsafe-pointer): a path for C, most often a literal.
    folder = path.map { CString($0) }
    self.timeMax = timeMax
  }

  /// Keeps everything in the folder at `path`.
  public init(folder path: StaticString) {
    self.init(folder: UnsafeRawPointer(path.utf8Start).assumingMemoryBound(to: CChar.self))
  }

  // MARK: The loop

  /// Whether there is nothing to do at the end of a turn.
  var isIdle: Bool {
    @inline(__always) get { desk.isIdle }
  }

  /// When the operation under way has to be given up.
  var deadline: Instant { desk.isBusy ? timeLimit : .never }

  /// Whether a child has not ended.
  var isRunning: Bool { process > 0 }

  /// A turn of the loop is over.
  ///
  /// - Returns: whether the next one must follow at once.
  mutating func endTurn() -> Bool {
    let isOwed = desk.endTurn()
    if !desk.isBusy { dropReply() }
    return isOwed
  }

  /// Collects the child if it has ended.
  mutating func reap() {
    guard isRunning else { return }
    var status: Int32 = 0
    let ended = waitpid(process, &status, WNOHANG)
    guard ended != 0 else { return }
    process = 0
    // A child that did not come to its end has no answer, nor has one whose program ended for it, with status 0.
    let hasExited = ended > 0 && mote_has_exited(status) != 0
    let answer = hasExited ? StorageAnswer(rawValue: UInt8(truncatingIfNeeded: mote_exit_status(status))) : nil
    desk.end(answer.map { $0 == .pending ? .failed : $0 } ?? .failed)
  }

  /// Gives up the operation under way if its time is over.
  mutating func expire(now: Instant) {
    guard deadline <= now else { return }
    kill(process, SIGKILL)
    desk.giveUp()
  }

  /// Kills the child and forgets what it has read: nobody asks any more.
  mutating func abandon() {
    if isRunning { kill(process, SIGKILL) }
    dropReply()
  }

  private mutating func dropReply() {
    guard reply >= 0 else { return }
    System.close(reply)
    reply = -1
  }

  // MARK: Operations

  /// Takes a question of the loop.
  ///
  /// - Returns: what to answer; nil in the child that has to do it.
  private mutating func ask(_ operation: StorageOperation, isReading: Bool) -> StorageAnswer? {
    guard folder != nil else { return isReading ? .notFound : .readOnly }
    if let answer = desk.ask(operation) { return answer }
    dropReply()
    if isReading { reply = mote_memory_file(nil, 0) }
    let child = isReading && reply < 0 ? -1 : mote_fork_for_storage(reply)
    if child == 0 { return nil }
    guard child > 0 else {
      desk.end(.failed)
      return desk.ask(operation)
    }
    process = child
    timeLimit = System.bootTime() + timeMax
    return .pending
  }

  /// In the child: goes into the folder, or ends.
  private func openFolder(isReading: Bool) -> StateFolder {
    guard let folder else { preconditionFailure("there is a folder wherever there is a child") }
    do throws(StorageFailure) {
      return try StateFolder(folder)
    } catch {
      // Without the folder nothing was stored, and nothing can be.
      _exit(Int32((error == .notFound && !isReading ? StorageAnswer.readOnly : error.answer).rawValue))
    }
  }

  /// In the child, for `bytes` alone: it needs nothing else that is the loop's, which goes on writing there.
  private func openFolder(toWrite bytes: Span<UInt8>) -> StateFolder {
    let folder = openFolder(isReading: false)
    bytes.withUnsafeBufferPointer { mote_forget_own_memory($0.baseAddress, $0.count) }
    return folder
  }

  /// In the child: hands over what `buffer` has from `start` on, and ends, like the other one.
  private func end(
    _ answer: StorageAnswer, _ folder: inout StateFolder, _ buffer: borrowing ByteBuffer, from start: Int
  ) -> StorageAnswer {
    do throws(StorageFailure) {
      try folder.writeAll(0, at: 0, buffer.span.extracting(start..<buffer.count))
    } catch {
      return end(.failed)
    }
    return end(answer)
  }

  /// In the child: ends. It returns for the compiler only.
  private func end(_ answer: StorageAnswer) -> StorageAnswer { _exit(Int32(answer.rawValue)) }

  /// Appends what the child has read.
  private mutating func collect(_ answer: StorageAnswer, into buffer: inout ByteBuffer) -> StorageAnswer {
    guard answer != .pending else { return answer }
    defer { dropReply() }
    guard answer == .done else { return answer }
    do throws(Errno) {
      // The child has left the position that we share where it was. Each turn reads at least a byte.
      while buffer.freeCount > 0, try System.read(reply, into: &buffer, byteCountMax: buffer.freeCount) > 0 {}
      return .done
    } catch {
      return .failed
    }
  }

  /// Reads a record in a child.
  public mutating func readRecord(_ record: StorageRecord, into buffer: inout ByteBuffer) -> StorageAnswer {
    precondition(buffer.freeCount >= record.roomNeeded)
    if let answer = ask(StorageOperation(.readRecord, record), isReading: true) {
      return collect(answer, into: &buffer)
    }
    var folder = openFolder(isReading: true)
    let start = buffer.count
    let answer = Storage.readRecord(record, into: &buffer, on: &folder)
    return end(answer, &folder, buffer, from: start)
  }

  /// Replaces a record in a child.
  public mutating func replaceRecord(_ record: StorageRecord, _ content: Span<UInt8>) -> StorageAnswer {
    precondition(content.count <= record.bytesMax)
    if let answer = ask(StorageOperation(.replaceRecord, record), isReading: false) { return answer }
    var folder = openFolder(toWrite: content)
    return end(Storage.replaceRecord(record, content, on: &folder))
  }

  /// Appends to a segment in a child.
  public mutating func appendToSegment(
    _ segment: StorageSegment, at offset: Int, _ bytes: Span<UInt8>, isFlushed: Bool
  ) -> StorageAnswer {
    let operation = StorageOperation(isFlushed ? .appendAndFlush : .append, segment, at: offset)
    if let answer = ask(operation, isReading: false) { return answer }
    var folder = openFolder(toWrite: bytes)
    return end(Storage.appendToSegment(segment, at: offset, bytes, isFlushed: isFlushed, on: &folder))
  }

  /// Reads from a segment in a child.
  public mutating func readSegment(
    _ segment: StorageSegment, at offset: Int, into buffer: inout ByteBuffer
  ) -> StorageAnswer {
    if let answer = ask(StorageOperation(.read, segment, at: offset), isReading: true) {
      return collect(answer, into: &buffer)
    }
    var folder = openFolder(isReading: true)
    let start = buffer.count
    let answer = Storage.readSegment(segment, at: offset, into: &buffer, on: &folder)
    return end(answer, &folder, buffer, from: start)
  }

  /// Looks for segments in a child.
  public mutating func findSegments(
    of series: StorageSeries, from number: UInt64, _ found: inout StorageSegmentRange
  ) -> StorageAnswer {
    let operation = StorageOperation(.find, StorageSegment(series, number))
    return withUnsafeMutablePointer(to: &found) { start in
      // DEVIATION(unsafe-pointer): the child is this very program, so its bytes are ours.
      var buffer = ByteBuffer(Region(start: start, count: MemoryLayout<StorageSegmentRange>.size))
      if let answer = ask(operation, isReading: true) { return collect(answer, into: &buffer) }
      var folder = openFolder(isReading: true)
      let answer = Storage.findSegments(of: series, from: number, &start.pointee, on: &folder)
      buffer.commit(MemoryLayout<StorageSegmentRange>.size)
      return end(answer, &folder, buffer, from: 0)
    }
  }

  /// Deletes a segment in a child.
  public mutating func deleteSegment(_ segment: StorageSegment) -> StorageAnswer {
    if let answer = ask(StorageOperation(.delete, segment), isReading: false) { return answer }
    var folder = openFolder(isReading: false)
    return end(Storage.deleteSegment(segment, on: &folder))
  }

  /// Gives a segment another name in a child.
  public mutating func setSegmentAside(_ segment: StorageSegment) -> StorageAnswer {
    if let answer = ask(StorageOperation(.setAside, segment), isReading: false) { return answer }
    var folder = openFolder(isReading: false)
    return end(Storage.setSegmentAside(segment, on: &folder))
  }
}
