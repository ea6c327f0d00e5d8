// The program that installs an image: how long it may take, what its end means, and what of its output is told.

import Bytes
import HostInterface

/// What became of an installation.
enum InstallerOutcome: Equatable, Sendable, BitwiseCopyable {
  /// It goes on.
  case running
  /// It is done.
  case done
  /// It is done once the machine has restarted.
  case wantsRestart
  /// It has failed, with this status, or 128 and the number of a signal.
  case failed(Int)
  /// It did not end in time, and was killed.
  case timeout
}

/// An installer's program while it runs. One at a time.
struct InstallerRun: ~Copyable {
  /// The status by which a program says that a restart completes what it has done.
  private static var restartStatus: Int { 10 }
  /// How much of the output is kept: the end of it, in bytes.
  private static var outputBytesMax: Int { 512 }

  private let pinned = Pinned()
  private var output: ByteBuffer
  /// What it does.
  private(set) var task = InstallerTask.install
  private var until = Instant.never
  private var isLate = false
  private(set) var isStarted = false

  init(isUsed: Bool, in arena: inout Arena) {
    output = ByteBuffer(
      capacity: isUsed ? InstallerRun.outputBytesMax : 0, for: "firmware", in: &arena)
  }

  /// Starts the program, which has until `until`. Where it cannot be started, its end says so.
  mutating func begin<H: HostFirmware & ~Copyable>(
    _ task: InstallerTask, _ place: FirmwarePlace, version: Span<UInt8>, until: Instant, _ host: inout H
  ) {
    output.removeAll()
    isLate = false
    self.task = task
    self.until = until
    isStarted = host.startInstaller(task, place, version: version)
  }

  /// When it has to be ended.
  var deadline: Instant { isLate ? .never : until }

  /// Asks how it stands. To be called whenever the loop turns, until it answers something else than `.running`.
  mutating func advance<H: HostFirmware & ~Copyable>(_ now: Instant, _ host: inout H) -> InstallerOutcome {
    guard isStarted else { return .failed(126) }
    // Only the end of what it writes is of interest. Each turn takes at least a quarter of the room.
    if output.freeCount < output.capacity / 4 { output.removeFirst(output.capacity / 2) }
    let state = host.pollInstaller(output: &output)
    switch state {
    case .running:
      if now >= until, !isLate {
        isLate = true
        host.stopInstaller()
      }
      return .running
    case .exited(let status):
      if isLate { return .timeout }
      return status == 0 ? .done : status == InstallerRun.restartStatus ? .wantsRestart : .failed(status)
    case .signalled(let number): return isLate ? .timeout : .failed(128 + number)
    case .notStarted: return .failed(126)
    }
  }

  /// The last line of what it has written that is not empty.
  var lastLine: Span<UInt8> {
    @_lifetime(borrow self)
    get {
      var end = output.count
      while end > 0, output[end - 1].isBlank || output[end - 1] == UInt8(ascii: "\n") { end -= 1 }
      var start = end
      while start > 0, end - start < AgentLimits.installerOutputBytesMax, output[start - 1] != UInt8(ascii: "\n") {
        start -= 1
      }
      let span = output.span.extracting(start..<end)
      return _overrideLifetime(span, borrowing: self)
    }
  }

  /// What it has written is not of interest any more.
  mutating func forget() { output.removeAll() }
}
