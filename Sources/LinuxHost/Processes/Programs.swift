// Programs that commands start: no shell, nothing inherited, everything bounded.

import Bytes
import CLinux
import HostInterface

/// What the system has to do with one program. How far its end has been asked for is the caller's account.
private struct Program: BitwiseCopyable {
  /// 0 without one.
  var process: pid_t = 0
  /// What waitpid(2) said once the process had ended; its last output has not been collected then.
  var endStatus: Int32?
  /// Whether it was told to end: what it leaves of its group then ends with it.
  var isStopped = false
  /// Where its output comes, or -1 once there will be no more.
  var output: Int32 = -1
  /// How much of its output has been kept.
  var keptCount = 0
  /// Output that is only thrown away is not looked for before this moment.
  var discardAt = Instant(milliseconds: 0)

  var isRunning: Bool { process > 0 && endStatus == nil }
}

/// Bounds of how programs are treated.
enum ProgramLimits {
  /// How long a start waits for the system to say whether the file could be executed: longer than any local storage
  /// takes.
  static var startWaitMs: Int32 { 250 }
  /// How often output is taken in one turn, 4096 bytes each: a full pipe, no more.
  static var chunksMax: Int { 16 }
  /// How often output is thrown away: a program that never stops writing gets a hundred pipes a second and no more of
  /// our time.
  static var discardInterval: TimeSpan { .milliseconds(10) }
}

/// The configured programs and those of them that run.
struct Programs: ~Copyable {
  private let pinned = Pinned()
  private struct Command: BitwiseCopyable {
    let pathStart: Int
    let variableStart: Int
  }

  private var commands: FixedArray<Command>
  /// Zero-terminated: for each command its path and `MOTE_COMMAND=NAME`.
  private var text: ByteBuffer
  private var running = InlineArray<4, Program>(repeating: Program())
  /// How many have output that has not ended.
  private var outputCount = 0

  /// How many bytes of `textBytes` a command needs beside its path and name.
  static var textBytesPerCommand: Int { 15 }

  /// Takes room for `capacity` commands with `textBytes` of paths and names from `arena`.
  init(capacity: Int, textBytes: Int, from arena: inout Arena) throws(ArenaExhausted) {
    let textCapacity = textBytes + capacity * Programs.textBytesPerCommand
    let textRegion = try arena.take(textCapacity, for: "programs")
    commands = try FixedArray(capacity: capacity, for: "programs", from: &arena)
    text = ByteBuffer(textRegion)
  }

  /// Takes over what runs from an earlier configuration's table.
  mutating func adoptRunning(from earlier: borrowing Programs) {
    running = earlier.running
    outputCount = earlier.outputCount
  }

  /// Adds a command's program; commands are numbered in the order of these calls. False when there is no room.
  mutating func add(path: Span<UInt8>, name: Span<UInt8>) -> Bool {
    let byteCount = path.count + name.count + Programs.textBytesPerCommand
    guard byteCount <= text.freeCount else { return false }
    let pathStart = text.count
    text.append(path)
    text.append(0)
    let variableStart = text.count
    text.append("MOTE_COMMAND=")
    text.append(name)
    text.append(0)
    return commands.append(Command(pathStart: pathStart, variableStart: variableStart))
  }

  // MARK: Running

  /// See `Host.startProgram`.
  mutating func start(slot: Int, command: Int, input: Span<UInt8>) -> ProgramStart {
    precondition(running[slot].process == 0, "a slot is free again once its program's end has been told")
    // A path without a slash at its beginning would depend on where we were started.
    guard text[commands[command].pathStart] == UInt8(ascii: "/") else { return .notExecutable }
    let inputFile = input.withUnsafeBufferPointer { mote_memory_file($0.baseAddress, $0.count) }
    guard inputFile >= 0 else { return .noResources }
    defer { System.close(inputFile) }
    var ends: (reading: Int32, writing: Int32) = (-1, -1)
    guard mote_output_pipe(&ends.reading, &ends.writing) == 0 else { return .noResources }
    defer { System.close(ends.writing) }
    let process = execute(command, input: inputFile, output: ends.writing)
    guard process > 0 else {
      let failure = Errno.last
      System.close(ends.reading)
      return failure.isShortage ? .noResources : .notExecutable
    }
    running[slot] = Program(process: process, output: ends.reading)
    outputCount += 1
    return .started
  }

  private func execute(_ command: Int, input: Int32, output: Int32) -> pid_t {
    text.span.withUnsafeBufferPointer { bytes in
      // DEVIATION(unsafe-pointer): execve(2) takes C strings; those in `text` end with a zero.
      guard let start = UnsafeRawPointer(bytes.baseAddress)?.assumingMemoryBound(to: CChar.self) else { return -1 }
      return mote_start_program(
        start + commands[command].pathStart, start + commands[command].variableStart, input, output,
        ProgramLimits.startWaitMs)
    }
  }

  /// See `Host.pollProgram`.
  mutating func poll(slot: Int, output: inout ByteBuffer, now: Instant) -> ProgramState {
    precondition(running[slot].process > 0, "no program has been started in this slot")
    guard let status = running[slot].endStatus else {
      if now >= running[slot].discardAt { collect(slot, into: &output, now: now) }
      return .running
    }
    // Children of the program may keep the pipe open for ever; what they write later is nobody's.
    collect(slot, into: &output, now: now)
    closeOutput(slot)
    running[slot].process = 0
    return mote_has_exited(status) != 0
      ? .exited(Int(mote_exit_status(status))) : .signalled(Int(mote_end_signal(status)))
  }

  /// Takes what is there: first into `output` as far as it may be kept, then into the void.
  private mutating func collect(_ slot: Int, into output: inout ByteBuffer, now: Instant) {
    guard running[slot].output >= 0 else { return }
    for _ in 0..<ProgramLimits.chunksMax {
      let room = min(HostLimits.programOutputBytesMax - running[slot].keptCount, output.freeCount)
      do throws(Errno) {
        let count: Int
        if room > 0 {
          count = try System.read(running[slot].output, into: &output, byteCountMax: room)
          running[slot].keptCount += count
        } else {
          running[slot].discardAt = now + ProgramLimits.discardInterval
          count = try System.discard(running[slot].output)
        }
        if count == 0 { return closeOutput(slot) }
      } catch {
        if !error.isWouldBlock { closeOutput(slot) }
        return
      }
    }
  }

  private mutating func closeOutput(_ slot: Int) {
    guard running[slot].output >= 0 else { return }
    System.close(running[slot].output)
    running[slot].output = -1
    outputCount -= 1
  }

  /// See `Host.stopProgram`.
  mutating func stop(slot: Int, forcibly: Bool) {
    guard running[slot].isRunning else { return }
    running[slot].isStopped = true
    let signal = forcibly ? SIGKILL : SIGTERM
    // Its group is its own since before it was executed; one whose execution takes long may not have come that far.
    if kill(-running[slot].process, signal) != 0 { kill(running[slot].process, signal) }
  }

  // MARK: The loop's part

  /// Whether there may be anything to wait for.
  var haveOutput: Bool { outputCount > 0 }

  /// Adds what has to be waited for.
  ///
  /// - Returns: the moment at which output has to be thrown away.
  func register(in set: inout PollSet, now: Instant) -> Instant {
    var deadline = Instant.never
    for slot in running.indices where running[slot].output >= 0 {
      guard running[slot].isRunning else { continue }
      if now >= running[slot].discardAt {
        _ = set.add(running[slot].output, events: Int16(POLLIN))
      } else {
        deadline = min(deadline, running[slot].discardAt)
      }
    }
    return deadline
  }

  /// Whether any has not ended.
  var areRunning: Bool {
    for slot in running.indices {
      if running[slot].isRunning { return true }
    }
    return false
  }

  /// Kills all that run; `reap` collects them.
  mutating func killAll() {
    for slot in running.indices {
      stop(slot: slot, forcibly: true)
      closeOutput(slot)
    }
  }

  /// Collects the programs that have ended.
  mutating func reap() {
    for slot in running.indices {
      guard running[slot].isRunning else { continue }
      var status: Int32 = 0
      guard waitpid(running[slot].process, &status, WNOHANG) == running[slot].process else { continue }
      running[slot].endStatus = status
      // A child that did not heed the signal would live on, without a time limit. The group keeps its number while
      // anyone is in it.
      if running[slot].isStopped { kill(-running[slot].process, SIGKILL) }
    }
  }
}
