// Firmware as seen from the loop: what was asked for, the process that does it, the keys, and the installer.

import Bytes
import CLinux
import HostInterface

/// What a configuration says about firmware.
public struct FirmwarePlan: ~Escapable {
  /// Whether there is anything.
  let isConfigured: Bool
  /// Whether this program renews itself in slots.
  let isOwn: Bool
  /// The path of the program that installs, or speaks with the boot loader.
  let run: Span<UInt8>
  /// The paths of the slots of a system; empty without.
  let slotA: Span<UInt8>
  /// See `slotA`.
  let slotB: Span<UInt8>
  /// The path of the file of trusted keys.
  let keyFile: Span<UInt8>

  /// A plan of these parts, as long as they last.
  @_lifetime(copy run, copy slotA, copy slotB, copy keyFile)
  public init(
    isConfigured: Bool, isOwn: Bool, run: Span<UInt8>, slotA: Span<UInt8>, slotB: Span<UInt8>, keyFile: Span<UInt8>
  ) {
    self.isConfigured = isConfigured
    self.isOwn = isOwn
    self.run = run
    self.slotA = slotA
    self.slotB = slotB
    self.keyFile = keyFile
  }
}

/// Images, keys, slots and the installer of this machine.
struct LinuxFirmware: ~Copyable {
  private enum Phase: BitwiseCopyable {
    /// Nothing is under way.
    case free
    /// `operation` is.
    case busy
    /// It has ended with `answer`, which nobody has fetched.
    case ended
    /// It was given up, and its process has not ended: nothing else may begin, or two would write at once.
    case stuck
  }

  private let pinned = Pinned()
  /// The state folder; nil where nothing is kept.
  private let folder: CString?
  // Of the configuration's memory, and so made anew with it: the keys, the installer's path, MOTE_FIRMWARE_VERSION=…
  // and what the child has answered.
  private var keys: TrustedKeys?
  private var run: CText?
  private var image: CText?
  private var slots: SlotPaths?
  private var variable: CText?
  private var reply: ByteBuffer?
  private(set) var running: FirmwarePlace?
  private var isOwn = false
  private(set) var obstacle: FirmwareObstacle?
  private var phase = Phase.free
  private var operation = ImageOperation(.flush)
  private var answer = StorageAnswer.failed
  /// The child, 0 without, and the socket that leads to it.
  private var process: pid_t = 0
  private var socket: Int32 = -1
  private var timeLimit = Instant.never
  /// Whether the child has an image open, and so is kept.
  private var hasImage = false
  private var installer = Installer()
  /// How the program is to end.
  private(set) var end: SupervisedEnd?

  init(folder: CString?) { self.folder = folder }

  /// Takes over what a configuration says; without a plan there is no firmware. May wait for the file system.
  mutating func use(_ plan: borrowing FirmwarePlan, from arena: inout Arena) throws(ArenaExhausted) {
    keys = nil
    run = nil
    variable = nil
    reply = nil
    // A child that has an image open knows the slots that there were.
    if slots != nil {
      close()
      hasImage = false
      phase = .free
    }
    slots = nil
    guard plan.isConfigured else { return }
    isOwn = plan.isOwn
    run = try text(plan.run, from: &arena)
    image = try CText(countMax: PathText.bytesMax, for: "firmware", from: &arena)
    if let folder { _ = imagePath(.file, in: folder).withBytes { image?.set($0) } }
    if !plan.slotA.isEmpty {
      slots = SlotPaths(
        a: CString(try text(plan.slotA, from: &arena).start), b: CString(try text(plan.slotB, from: &arena).start))
    }
    variable = try CText(countMax: Installer.variableBytesMax, for: "firmware", from: &arena)
    reply = try ByteBuffer(capacity: ImageAnswer.bytesMax, for: "firmware", from: &arena)
    // What is wrong with them `mote check` says.
    var newKeys = try TrustedKeys(from: &arena)
    if !plan.keyFile.isEmpty { do throws(PublicKeyFailure) { try newKeys.read(plan.keyFile) } catch {} }
    keys = consume newKeys
    running = isOwn ? folder.flatMap { runningSlot(in: $0) } : nil
    obstacle = folder.map { FirmwareStorage.obstacle(in: $0, isExecuted: isOwn) } ?? .notFound
    if obstacle == nil, keyCount == 0, isOwn || !plan.keyFile.isEmpty { obstacle = .noKey }
    if obstacle == nil, isOwn, !Supervision.isSupervised { obstacle = .notSupervised }
  }

  @inline(never)
  private func text(_ bytes: Span<UInt8>, from arena: inout Arena) throws(ArenaExhausted) -> CText {
    var text = try CText(countMax: bytes.count, for: "firmware", from: &arena)
    _ = text.set(bytes)
    return text
  }

  // MARK: The loop

  /// Whether a child has not ended.
  var isRunning: Bool { process > 0 }

  /// Adds what has to be waited for.
  ///
  /// - Returns: when what is under way has to be given up.
  @inline(never)
  func register(in set: inout PollSet) -> Instant {
    installer.register(in: &set)
    guard phase == .busy else { return .never }
    _ = set.add(socket, events: Int16(POLLIN))
    return timeLimit
  }

  /// A turn of the loop is over: takes what has come, and gives up what takes too long.
  ///
  /// - Returns: whether there may be more.
  @inline(never)
  mutating func endTurn() -> Bool {
    collect()
    if phase == .busy, timeLimit <= System.bootTime() { giveUp() }
    return process > 0 || phase == .busy || phase == .stuck || installer.isRunning
  }

  /// Takes the answer if it has come.
  private mutating func collect() {
    guard phase == .busy else { return }
    reply?.removeAll()
    let count = receive()
    if count < 0, mote_errno() == EAGAIN || mote_errno() == EINTR { return }
    reply?.commit(max(0, count))
    // A process that has ended has no answer, nor has one whose program ended for it.
    let first = count > 0 ? reply?[0] : nil
    finish(first.flatMap { StorageAnswer(rawValue: $0) } ?? .failed)
    if count <= 0 { hasImage = false }
    if !hasImage { hangUp() }
  }

  private mutating func receive() -> Int {
    let socket = socket
    guard var room = reply?.freeSpan else { return 0 }
    return room.withUnsafeMutableBufferPointer { recv(socket, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT)) }
  }

  private mutating func finish(_ answer: StorageAnswer) {
    self.answer = answer == .pending ? .failed : answer
    phase = .ended
    switch operation.kind {
    case .prepare: hasImage = self.answer == .done
    case .write, .flush: if self.answer != .done { hasImage = false }
    case .finish, .discard: hasImage = false
    case .readBack, .readSlots, .replaceSlots: break
    }
  }

  private mutating func giveUp() {
    kill(process, SIGKILL)
    hasImage = false
    hangUp()
    phase = .stuck
  }

  /// Collects children that have ended.
  mutating func reap() {
    installer.reap()
    guard process > 0, waitpid(process, nil, WNOHANG) != 0 else { return }
    process = 0
    if phase == .stuck {
      finish(.failed)
    } else if phase == .busy {
      collect()
    }
    hangUp()
  }

  /// Ends the child, which notices that nobody writes to it any more. An installer goes on.
  mutating func close() {
    if process > 0 { kill(process, SIGKILL) }
    hangUp()
  }

  private mutating func hangUp() {
    guard socket >= 0 else { return }
    System.close(socket)
    socket = -1
  }

  // MARK: Asking

  /// Takes a question of the loop.
  private mutating func ask(_ asked: ImageOperation, _ bytes: Span<UInt8>) -> StorageAnswer {
    guard let folder, reply != nil else { return .readOnly }
    switch phase {
    case .stuck: return .failed
    case .busy: return .pending
    case .ended where operation == asked:
      phase = .free
      return answer
    case .ended, .free: break
    }
    phase = .free
    if socket < 0 {
      reap()
      // The one before ends by itself, which wakes the loop.
      guard process == 0 else { return .pending }
      var theirs: Int32 = -1
      guard mote_message_sockets(&socket, &theirs) == 0 else { return .failed }
      let child = mote_fork_for_storage(theirs)
      if child == 0 { serveImages(in: folder, slots) }
      System.close(theirs)
      guard child > 0 else {
        hangUp()
        return .failed
      }
      process = child
      hasImage = false
    }
    guard asked.send(to: socket, bytes) else {
      hasImage = false
      hangUp()
      return .failed
    }
    operation = asked
    timeLimit = System.bootTime() + asked.timeMax
    phase = .busy
    return .pending
  }

  mutating func prepare(
    _ place: FirmwarePlace, _ header: Span<UInt8>, byteCount: UInt64, from offset: UInt64
  ) -> StorageAnswer {
    // Never over what runs, whatever the record says.
    guard place == .file || place != running else { return .readOnly }
    return ask(ImageOperation(.prepare, place, offset: offset, byteCount: byteCount), header)
  }

  mutating func write(at offset: UInt64, _ bytes: Span<UInt8>) -> StorageAnswer {
    ask(ImageOperation(.write, offset: offset), bytes)
  }

  mutating func flush() -> StorageAnswer { ask(ImageOperation(.flush), Span()) }

  mutating func finish(byteCount: UInt64) -> StorageAnswer {
    ask(ImageOperation(.finish, byteCount: byteCount), Span())
  }

  mutating func readBack(
    _ place: FirmwarePlace, byteCount: UInt64, _ digest: inout InlineArray<32, UInt8>
  ) -> StorageAnswer {
    let answer = ask(ImageOperation(.readBack, place, byteCount: byteCount), Span())
    guard answer == .done else { return answer }
    guard reply?.count == 1 + digest.count else { return .failed }
    for index in digest.indices { digest[index] = reply?[1 + index] ?? 0 }
    return .done
  }

  mutating func discard(_ place: FirmwarePlace) -> StorageAnswer {
    guard place == .file || place != running else { return .readOnly }
    return ask(ImageOperation(.discard, place), Span())
  }

  mutating func readSlots(into buffer: inout ByteBuffer) -> StorageAnswer {
    let answer = ask(ImageOperation(.readSlots), Span())
    guard answer == .done else { return answer }
    guard reply?.count == ImageAnswer.bytesMax else { return .failed }
    reply?.removeFirst(1)
    if let span = reply?.span { buffer.append(span) }
    return .done
  }

  mutating func replaceSlots(copy index: Int, _ content: Span<UInt8>) -> StorageAnswer {
    ask(ImageOperation(.replaceSlots, copy: index), content)
  }

  // MARK: Checks

  var keyCount: Int {
    switch keys {
    case .some(let keys): keys.count
    case .none: 0
    }
  }

  func isSigned(_ digest: InlineArray<32, UInt8>, by identifier: UInt32, _ signature: Span<UInt8>) -> Bool {
    switch keys {
    case .some(let keys): keys.haveSigned(digest, identifier, signature)
    case .none: false
    }
  }

  // MARK: Installing

  mutating func startInstaller(_ task: InstallerTask, _ place: FirmwarePlace, version: Span<UInt8>) -> Bool {
    guard let program = run?.start, let image = image?.start else { return false }
    var text = PathText(Installer.variableName.bytes)
    text.append(version)
    _ = text.withBytes { variable?.set($0) }
    guard let environment = variable?.start else { return false }
    let argument = task == .install ? image : literal(task.name)
    return installer.start(program, argument, task.isAboutSlot ? literal(place.fileName) : nil, environment)
  }

  /// A literal for C: it ends with a zero.
  private func literal(_ text: StaticString) -> UnsafePointer<CChar> {
    // DEVIATION(unsafe-pointer): the system takes C strings.
    UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self)
  }

  mutating func pollInstaller(output: inout ByteBuffer) -> ProgramState { installer.poll(output: &output) }

  mutating func stopInstaller() { installer.stop() }

  mutating func endForSupervisor(_ end: SupervisedEnd) { self.end = end }
}
