// Images and slots of a simulated machine: what is durable, what is not, and a supervisor that starts what the slot
// record says.

import Bytes
import Firmware
import HostInterface
import TestSupport

/// The flash on which images are kept, and what is started from it.
final class ImageFlash {
  private let world: World
  /// What a reader sees, and what a power cut leaves.
  private(set) var images: [FirmwarePlace: [UInt8]] = [:]
  private var durable: [FirmwarePlace: [UInt8]] = [:]
  /// Both copies of the slot record.
  var slotCopies: [[UInt8]] = [[UInt8]](repeating: [UInt8](repeating: 0, count: 256), count: 2)
  var hasSlots: Bool { slotCopies.contains { $0.contains { $0 != 0 } } }
  private var prepared: FirmwarePlace?

  /// What is under way: an operation and its answer.
  private var operation: (key: String, number: Int, answer: StorageAnswer?)?
  private(set) var operationCount = 0
  /// The operation in which the power fails, and whether it has its effect before that.
  var cutAt: Int?
  var cutsBehind = false
  private(set) var isOff = false
  /// Operations that fail.
  var failing: [Int: StorageAnswer] = [:]
  var failingFrom: Int?

  /// Which program runs: a slot's, or the one that came with the system.
  var running: FirmwarePlace?
  var isSupervised = true
  var end: SupervisedEnd?

  /// What an installer does, and what it has come to.
  var installerStatus = 0
  private(set) var installs: [String] = []
  private var installerEnd: ProgramState?
  /// Whether the slots are those of a system, and what its boot loader knows: which one is started when nobody says
  /// otherwise, and which one next, once.
  var isPartition = false
  private(set) var standard = FirmwarePlace.slotA
  private var tried: FirmwarePlace?
  /// Tasks whose program fails, ones whose program says that all went well and does nothing.
  var failingTasks: Set<InstallerTask> = []
  var idleTasks: Set<InstallerTask> = []
  /// Whether the boot loader never starts the slot that is tried.
  var ignoresTry = false
  private var installerOutput = ""
  /// The version that runs now, and the one that does after a restart.
  var version = "1.4.0"
  var pendingVersion: String?

  init(world: World) { self.world = world }

  // MARK: Power

  /// The power comes back. With `keepsAll`, what was not durable is there all the same.
  func restart(keepsAll: Bool) {
    if !keepsAll { images = durable }
    durable = images
    (isOff, operation, prepared, installerEnd) = (false, nil, nil, nil)
    // Programs end with the power, too.
    taskCount += 1
    if isPartition { bootPartition() }
    if let pendingVersion { version = pendingVersion }
    pendingVersion = nil
  }

  /// The agent ends; what it has asked for ends as well.
  func forget() {
    (operation, prepared, installerEnd) = (nil, nil, nil)
    taskCount += 1
  }

  /// The boot loader starts a slot.
  func bootPartition() {
    let slot = ignoresTry ? standard : tried ?? standard
    tried = nil
    running = slot
    // Images of the tests say whether they work, and which version they are.
    let image = images[slot, default: []]
    if image.starts(with: Array("BROKEN".utf8)) {
      // Its kernel panics, and so the machine starts anew.
      world.mark("panic")
      running = standard
    }
    if running == slot, slot != standard { world.mark("trial") }
    let words = images[running ?? slot, default: []].prefix(20).split(separator: 0x20)
    version = words.count >= 2 ? Array(words[1].prefix(5)).text : "1.4.0"
  }

  /// What an image of the tests says of itself, while it is tried.
  func isTried(_ word: String) -> Bool {
    guard isPartition, let running, slots.trial == running else { return false }
    return images[running, default: []].starts(with: Array(word.utf8))
  }

  // MARK: Operations

  private func ask(_ key: String, _ perform: @escaping () -> StorageAnswer) -> StorageAnswer {
    if let operation, operation.key == key {
      guard let answer = operation.answer else { return .pending }
      self.operation = nil
      return answer
    }
    let number = operationCount
    operationCount += 1
    operation = (key, number, nil)
    world.after(.milliseconds(3)) { [self] in
      guard operation?.number == number else { return }
      if number == cutAt {
        isOff = true
        if cutsBehind { _ = perform() }
        return
      }
      let failure = failing[number] ?? failingFrom.flatMap { number >= $0 ? .failed : nil }
      operation?.answer = failure ?? perform()
      world.hasNews = true
    }
    return .pending
  }

  func prepare(_ place: FirmwarePlace, from offset: UInt64) -> StorageAnswer {
    if place == running { world.violate("host: what runs is written to") }
    return ask("prepare \(place) \(offset)") { [self] in
      guard offset <= images[place]?.count ?? 0 else { return .damaged }
      images[place] = Array(images[place, default: []].prefix(Int(offset)))
      prepared = place
      return .done
    }
  }

  func write(at offset: UInt64, _ bytes: [UInt8]) -> StorageAnswer {
    ask("write \(offset) \(bytes.count)") { [self] in
      guard let prepared, images[prepared]?.count == Int(offset) else { return .failed }
      images[prepared, default: []] += bytes
      return .done
    }
  }

  func flush(_ key: String) -> StorageAnswer {
    ask(key) { [self] in
      guard let prepared else { return .failed }
      durable[prepared] = images[prepared]
      return .done
    }
  }

  func readBack(_ place: FirmwarePlace, byteCount: UInt64, _ digest: inout InlineArray<32, UInt8>) -> StorageAnswer {
    let answer = ask("read-back \(place)") { [self] in
      images[place]?.count == Int(byteCount) ? .done : .damaged
    }
    if answer == .done { digest = standInDigest(images[place] ?? []) }
    return answer
  }

  func discard(_ place: FirmwarePlace) -> StorageAnswer {
    ask("discard \(place)") { [self] in
      images[place] = nil
      durable[place] = nil
      return .done
    }
  }

  func readSlots(into buffer: inout ByteBuffer) -> StorageAnswer {
    let answer = ask("read-slots") { [self] in hasSlots ? .done : .notFound }
    if answer == .done {
      for copy in slotCopies { buffer.append(copy.span) }
    }
    return answer
  }

  func replaceSlots(copy index: Int, _ content: [UInt8]) -> StorageAnswer {
    ask("replace-slots \(index)") { [self] in
      slotCopies[index] = content
      return .done
    }
  }

  /// One copy of the record is as a power cut in the middle of its writing leaves it.
  func tear(_ index: Int) {
    slotCopies[index] = Array(slotCopies[index].prefix(128)) + [UInt8](repeating: 0, count: 128)
  }

  // MARK: The supervisor

  /// What the record says.
  var slots: SlotRecord {
    get {
      let copies = slotCopies.flatMap { $0 }
      guard let newest = SlotRecord.newest(of: copies.span) else { return SlotRecord() }
      return newest.record
    }
    set {
      var record = newValue
      record.advance()
      let bytes = record.bytes
      let copies = slotCopies.flatMap { $0 }
      var index = 0
      if let newest = SlotRecord.newest(of: copies.span) { index = newest.nextCopy }
      slotCopies[index] = (0..<256).map { bytes[$0] }
    }
  }

  /// Starts what the record says.
  ///
  /// - Returns: false when the program died at once; then the next one is to be started.
  func start() -> Bool {
    var record = slots
    let (start, hasChanged) = record.prepareStart()
    if hasChanged { slots = record }
    end = nil
    switch start {
    case .packaged: running = nil
    case .good(let place):
      running = place
      check(place, record)
    case .trial(let place):
      running = place
      let image = images[place] ?? []
      guard Digest(standInDigest(image)).equals(record[place].digest) else {
        fail(.damaged)
        return false
      }
      world.mark("trial")
      // Images of the tests say whether they work.
      guard !image.starts(with: Array("BROKEN".utf8)) else {
        fail(.exited)
        return false
      }
    }
    version = running.map { Array(record[$0].version).text } ?? "1.4.0"
    return true
  }

  private func check(_ place: FirmwarePlace, _ record: SlotRecord) {
    guard Digest(standInDigest(images[place] ?? [])).equals(record[place].digest) else {
      return world.violate("a slot is started whose image is not what was verified")
    }
  }

  /// What is on trial has failed.
  func fail(_ reason: RevertReason, isFinal: Bool = false) {
    var record = slots
    record.noteFailure(reason, isFinal: isFinal)
    slots = record
  }

  // MARK: The installer

  func startInstaller(_ task: InstallerTask, _ place: FirmwarePlace, _ version: String) -> Bool {
    installerOutput = ""
    if task != .install { return startTask(task, place) }
    installs.append(version)
    installerEnd = nil
    let number = installs.count
    world.after(.milliseconds(800)) { [self] in
      guard installs.count == number, !isOff else { return }
      installerEnd = .exited(installerStatus)
      if installerStatus == 0 { self.version = version }
      if installerStatus == 10 { pendingVersion = version }
      world.hasNews = true
    }
    return true
  }

  private var taskCount: Int = 0

  private func startTask(_ task: InstallerTask, _ place: FirmwarePlace) -> Bool {
    installerEnd = nil
    taskCount += 1
    let number = taskCount
    world.after(.milliseconds(200)) { [self] in
      guard taskCount == number, !isOff else { return }
      // The power may fail in front of its effect and behind it.
      let operation = operationCount
      operationCount += 1
      if operation == cutAt {
        isOff = true
        if cutsBehind { perform(task, place) }
        return
      }
      perform(task, place)
      installerEnd = .exited(failingTasks.contains(task) ? 1 : 0)
      world.hasNews = true
    }
    return true
  }

  private func perform(_ task: InstallerTask, _ place: FirmwarePlace) {
    guard !failingTasks.contains(task), !idleTasks.contains(task) else { return }
    world.note("boot loader: \(task.name) \(place)")
    switch task {
    case .install: break
    case .state: installerOutput = "\(running == .slotB ? "b" : "a") \(standard == .slotB ? "b" : "a")\n"
    case .tryOut:
      check(place, slots)
      tried = place
    case .commit:
      guard place == running else { return world.violate("what does not run is committed to") }
      standard = place
    }
  }

  func pollInstaller(_ output: inout ByteBuffer) -> ProgramState {
    guard let end = installerEnd else { return .running }
    output.append(Array(installerOutput.utf8).span)
    return end
  }
  func stopInstaller() { installerEnd = .signalled(9) }

  /// What its agent runs in is not known to be in a slot: it has to ask.
  var slotOfAgent: FirmwarePlace? { isPartition ? nil : running }
}

extension SimulatedHost: HostFirmware {
  func add(_ bytes: Span<UInt8>, to hash: inout RunningHash) { hash.addForStandIn(bytes) }
  func digest(of rest: Span<UInt8>, behind hash: RunningHash) -> InlineArray<32, UInt8> { hash.standIn(behind: rest) }

  var trustedKeyCount: Int { 1 }

  func isSigned(_ digest: InlineArray<32, UInt8>, byKey identifier: UInt32, _ signature: Span<UInt8>) -> Bool {
    Array(signature) == (0..<32).map { digest[$0] }
  }

  mutating func prepareImage(
    _ place: FirmwarePlace, header: Span<UInt8>, byteCount: UInt64, from offset: UInt64
  ) -> StorageAnswer { firmware.prepare(place, from: offset) }

  mutating func writeImage(at offset: UInt64, _ bytes: Span<UInt8>) -> StorageAnswer {
    firmware.write(at: offset, Array(bytes))
  }

  mutating func flushImage() -> StorageAnswer { firmware.flush("flush") }
  mutating func finishImage(byteCount: UInt64) -> StorageAnswer { firmware.flush("finish") }

  mutating func readBackImage(
    _ place: FirmwarePlace, byteCount: UInt64, _ digest: inout InlineArray<32, UInt8>
  ) -> StorageAnswer { firmware.readBack(place, byteCount: byteCount, &digest) }

  mutating func discardImage(_ place: FirmwarePlace) -> StorageAnswer { firmware.discard(place) }
  func runningSlot() -> FirmwarePlace? { firmware.slotOfAgent }
  func isSupervised() -> Bool { firmware.isSupervised }
  func firmwareObstacle() -> FirmwareObstacle? { firmware.isSupervised ? nil : .notSupervised }
  mutating func readSlotRecord(into buffer: inout ByteBuffer) -> StorageAnswer { firmware.readSlots(into: &buffer) }

  mutating func replaceSlotRecord(copy index: Int, _ content: Span<UInt8>) -> StorageAnswer {
    firmware.replaceSlots(copy: index, Array(content))
  }

  mutating func startInstaller(_ task: InstallerTask, _ place: FirmwarePlace, version: Span<UInt8>) -> Bool {
    firmware.startInstaller(task, place, Array(version).text)
  }

  mutating func pollInstaller(output: inout ByteBuffer) -> ProgramState { firmware.pollInstaller(&output) }
  mutating func stopInstaller() { firmware.stopInstaller() }
  mutating func endForSupervisor(_ end: SupervisedEnd) { firmware.end = end }
}
