// The real host: composes what the other files of this module do, and waits.

import Bytes
import CLinux
import HostInterface

/// The machine that the agent runs on. There can be one at a time in a process, as it owns the signal handlers.
public struct LinuxHost: ~Copyable, Host {
  private let pinned = Pinned()
  private let roots: MachineRoots
  private var signals: Signals
  private var log: LogSink
  private var sources: SourceTable
  private var programs: Programs
  private var outputs: OutputTable
  private var links: PerLink<Link>
  private var storage: LinuxStorage
  private var actions = MachineActions()
  private var control = ControlSocket()
  private var firmware: LinuxFirmware
  /// Whether anything has been asked of it that may not have come to its end.
  private var isInstalling = false
  /// The hardware's watchdog; -1 where it is not open.
  var watchdog: Int32 = -1
  private var pollSet = PollSet()
  /// When to let go of what opening the link took, or a reload.
  private var releaseTime = Instant.never
  /// What `now` has told in this turn; `never` where it has not, or something was done since that takes its time.
  private var moment = Instant.never

  /// Takes over the process's signals and its standard error.
  ///
  /// - Parameters:
  ///   - links: closed, in the order of `LinkSlot`.
  ///   - storage: the state folder.
  ///   - plan: what the configuration needs; its tables are taken from `arena`.
  ///   - roots: where the kernel shows itself.
  ///   - logBytesMax: how large standard error may become where it is a file; 0 for no bound.
  /// - Throws: `HostSetupFailure` when the arena is too small or the system has no file descriptor left.
  @inline(never)
  public init(
    links: consuming PerLink<Link>, storage: consuming LinuxStorage, plan: HostPlan,
    roots: consuming MachineRoots = MachineRoots(), logBytesMax: Int = 0, from arena: inout Arena
  ) throws(HostSetupFailure) {
    PollSet.check()
    let newSources = try makeSources(plan, from: &arena)
    let newPrograms = try makePrograms(plan, from: &arena)
    let newOutputs = try makeOutputs(plan, from: &arena)
    let newSignals = try makeSignals()
    self.links = links
    firmware = LinuxFirmware(folder: storage.folder)
    self.storage = storage
    self.roots = roots
    sources = newSources
    programs = newPrograms
    outputs = newOutputs
    signals = newSignals
    log = LogSink(fileBytesMax: logBytesMax)
    pollSet.stand(signals.wakeup, events: POLLIN, at: PollSet.signalIndex)
  }

  /// Gives up the sources and programs of one configuration and takes memory for those of another. Programs that run go
  /// on; the links are not touched. After an error the earlier ones are still there.
  public mutating func replacePlan(_ plan: HostPlan, from arena: inout Arena) throws(ArenaExhausted) {
    var newSources = try SourceTable(plan, from: &arena)
    var newPrograms = try Programs(plan, from: &arena)
    let newOutputs = try OutputTable(plan, from: &arena)
    moment = .never
    sources.close()
    newSources.adoptReaders(from: sources)
    newPrograms.adoptRunning(from: programs)
    sources = newSources
    programs = newPrograms
    outputs.close()
    outputs = newOutputs
  }

  /// Adds a source, or finds the one that is read at the same place: sensors of equal sources share one reading.
  ///
  /// - Parameter argument: what stands behind the colon of `read =`.
  /// - Returns: its index for `readSource`; nil when the plan was too small.
  public mutating func openSource(_ kind: SourceKind, argument: Span<UInt8>) -> Int? {
    sources.open(kind, argument)
  }

  /// Adds the next output.
  ///
  /// - Parameter place: what stands behind the colon of `write =`.
  /// - Returns: whether the plan was large enough.
  public mutating func openOutput(_ kind: OutputKind, place: Span<UInt8>) -> Bool { outputs.open(kind, place) }

  /// Adds the program of the next command.
  ///
  /// - Returns: whether the plan was large enough.
  public mutating func addProgram(path: Span<UInt8>, commandName: Span<UInt8>) -> Bool {
    programs.add(path: path, name: commandName)
  }

  // MARK: The loop

  /// Waits until something has happened or `deadline` has come. Whoever can have something new asks afterwards.
  ///
  /// Counts from the moment that `now` has told since the last wait, where it has: what a turn does takes too little
  /// time for one more look at the clock, but for those things that forget the moment.
  public mutating func wait(until deadline: Instant = .never) {
    let isStoring = !storage.isIdle
    let isLong = moment == .never || isStoring || isInstalling || sources.haveTakenTime
    let now = isLong ? System.bootTime() : moment
    moment = .never
    sources.haveTakenTime = false
    pollSet.removeAll()
    var first = deadline
    for slot in links.indices where !links[slot].isClosed { first = min(first, links[slot].register(in: &pollSet)) }
    if sources.hasReaders { first = min(first, sources.deadline) }
    if sources.haveLines { first = min(first, sources.registerLines(in: &pollSet, roots: roots)) }
    if programs.haveOutput { programs.register(in: &pollSet) }
    if isStoring { first = min(first, storage.endTurn() ? now : storage.deadline) }
    if isInstalling { first = min(first, firmware.register(in: &pollSet)) }
    if releaseTime <= now {
      releaseTime = .never
      releaseUnused()
      control.listenAgain(in: &pollSet)
    }
    // One wake-up a connection.
    first = min(first, releaseTime)
    let end = pollSet.wait(milliseconds: milliseconds(from: now, until: first))
    if end != .time { takeNews(hasSignal: end == .signal || pollSet.readyEvents(PollSet.signalIndex) != 0) }
    if isStoring { storage.expire(now: System.bootTime()) }
    if isInstalling { isInstalling = firmware.endTurn() }
    if sources.haveLines { sources.takeEdges(from: pollSet) }
    if sources.hasReaders { sources.expire(now: System.bootTime()) }
  }

  /// A signal that interrupted the wait is handled in the same turn, not in a second one.
  @inline(__always)
  private mutating func takeNews(hasSignal: Bool) {
    for slot in links.indices where !links[slot].isClosed { links[slot].noteReady(in: pollSet) }
    control.noteReady(in: &pollSet)
    guard hasSignal, signals.collect() else { return }
    sources.reap()
    programs.reap()
    storage.reap()
    actions.reap()
    firmware.reap()
    for slot in links.indices { _ = links[slot].reap() }
  }

  /// poll(2) does not wake before its time, and counts it on a clock that stands still during suspend: after one, a
  /// wait may last longer than it should by at most what was left of it.
  @inline(__always)
  private func milliseconds(from now: Instant, until deadline: Instant) -> Int32 {
    if deadline == .never { return -1 }
    if deadline <= now { return 0 }
    return Int32(truncatingIfNeeded: min((deadline - now).milliseconds, Int64(Int32.max)))
  }

  /// The next signal that a person or the service manager has sent; nil when all have been taken.
  public mutating func takeSignal() -> Signal? {
    let signal = signals.take()
    if signal == .reload { releaseTime = System.bootTime() + LinuxHost.settlingTime }
    return signal
  }

  /// How long `close` waits for killed children to end, in milliseconds. Only one that is stuck in the kernel takes
  /// longer.
  private static var closeWaitMs: Int { 100 }
  /// How long it waits before it kills the one that stores something: what the agent keeps at its end is worth a wait,
  /// and a flush may take that long.
  private static var storageWaitMs: Int { 2000 }

  /// Closes the links, kills readers and programs, waits for storage, and gives the signals back. Nothing but `init` of
  /// another host may follow; where one will, `holdingSignals` keeps those that come in between for it.
  public mutating func close(holdingSignals: Bool = false) {
    for slot in links.indices { links[slot].close() }
    control.close(in: &pollSet)
    closeWatchdog(isDisarmed: false)
    sources.close()
    outputs.close()
    firmware.close()
    programs.killAll()
    // Whoever goes on with another host wants no zombies of this one.
    for millisecond in 0..<(LinuxHost.storageWaitMs + LinuxHost.closeWaitMs) {
      sources.reap()
      programs.reap()
      storage.reap()
      firmware.reap()
      var areLookingUp = false
      for slot in links.indices { areLookingUp = links[slot].reap() || areLookingUp }
      if millisecond == LinuxHost.storageWaitMs { storage.abandon() }
      let areDying =
        millisecond < LinuxHost.closeWaitMs
        && (sources.hasReaders || programs.areRunning || firmware.isRunning || areLookingUp)
      guard areDying || storage.isRunning else { break }
      // A millisecond. poll(2) is in the program anyway, and usleep would bring a third of a KB.
      _ = CLinux.poll(nil, 0, 1)
    }
    storage.abandon()
    signals.remove(holding: holdingSignals)
  }

  // MARK: Time

  /// The boot-time clock. One clock_gettime(2), mostly without entering the kernel.
  public mutating func now() -> Instant {
    moment = System.bootTime()
    return moment
  }

  /// The system's time of day. One clock_gettime(2), mostly without entering the kernel.
  public mutating func systemTime() -> WallTime { WallTime(milliseconds: System.wallMilliseconds()) }

  /// What the kernel says (adjtimex(2)): whoever sets the clock by a reference tells it, setting it by hand takes that
  /// back.
  public mutating func isTimeSynchronised() -> Bool { mote_is_time_synchronised() != 0 }

  // MARK: Sensors

  /// Starts the reader of a slow source.
  public mutating func prepareSource(_ index: Int) -> Bool {
    sources.prepare(index, roots: roots)
  }

  /// Whether there is room for another reader, or none will be free soon and sources fail at once.
  public var canPrepareMore: Bool { sources.canPrepareMore }

  /// How old the answer of a slow source's reader may be.
  public func sourceAge(_ index: Int, at now: Instant) -> TimeSpan { sources.age(index, at: now) }

  /// The next line at which an edge has come.
  public mutating func nextTellingSource() -> Int? { sources.nextTelling() }

  /// Reads a source: a quick one with one pread(2) in place.
  public mutating func readSource(_ index: Int, into buffer: inout ByteBuffer) -> SourceRead {
    sources.read(index, into: &buffer, roots: roots)
  }

  // MARK: Outputs

  /// A line by ioctl(2), all else by a write to its attribute.
  public mutating func setOutput(_ index: Int, to value: Int) -> OutputAnswer {
    outputs.set(index, to: value, roots: roots)
  }

  // MARK: Programs

  /// Starts a program without a shell, in a session of its own, with `input` as a file on its standard input. Takes a
  /// fork, and waits for nothing.
  public mutating func startProgram(
    slot: Int, command: Int, input: Span<UInt8>, variables: Span<UInt8>
  ) -> ProgramStart {
    moment = .never
    return programs.start(slot: slot, command: command, input: input, variables: variables)
  }

  /// Collects output and tells where a program stands.
  public mutating func pollProgram(slot: Int, output: inout ByteBuffer) -> ProgramState {
    programs.poll(slot: slot, output: &output)
  }

  /// Has SIGTERM, or SIGKILL where `forcibly`, sent to the whole process group of a program.
  public mutating func stopProgram(slot: Int, forcibly: Bool) {
    programs.stop(slot: slot, forcibly: forcibly)
  }

  // MARK: Location

  /// Reads a small file; waits for flash only where nobody has read or written it lately.
  public mutating func readLocation(_ path: Span<UInt8>, _ text: inout LocationText) -> Int? {
    var bytes = text.mutableSpan
    return System.readSmallFile(PathText(path), into: &bytes)
  }

  /// The word for why the file at `path` cannot be read; nil where it can.
  public static func locationFault(_ path: Span<UInt8>) -> StaticString? {
    var text = LocationText(repeating: 0)
    var bytes = text.mutableSpan
    if System.readSmallFile(PathText(path), into: &bytes) != nil { return nil }
    return System.status(of: PathText(path)) == nil ? "not-found" : "not-permitted"
  }

  // MARK: Power

  /// What the hardware watchdog says about the last start.
  public mutating func lastStart() -> LastStart { roots.lastStart() }

  /// The kernel's `boot_id`.
  public mutating func bootIdentifier() -> BootIdentifier { roots.bootIdentifier() }

  /// Whether a program can be executed, or we have CAP_SYS_BOOT.
  public mutating func mayStartAction(_ program: Span<UInt8>) -> Bool { actions.mayStart(program) }

  /// Starts a program that outlives us, or sync(2) and reboot(2) in a child.
  public mutating func startAction(_ program: Span<UInt8>) -> Bool {
    moment = .never
    return actions.start(program)
  }

  /// Tells where it stands.
  public mutating func pollAction() -> ProgramState { actions.poll() }

  /// Sends SIGKILL to its whole process group.
  public mutating func stopAction() { actions.stop() }

  /// reboot(2).
  public mutating func reboot() -> RebootAnswer {
    switch mote_reboot() {
    case 0: .accepted
    case EPERM: .notPermitted
    default: .failed
    }
  }

  // MARK: Storage

  /// Reads a record in a child.
  public mutating func readRecord(_ record: StorageRecord, into buffer: inout ByteBuffer) -> StorageAnswer {
    storage.readRecord(record, into: &buffer)
  }

  /// Replaces a record in a child.
  public mutating func replaceRecord(_ record: StorageRecord, _ content: Span<UInt8>) -> StorageAnswer {
    storage.replaceRecord(record, content)
  }

  /// Appends to a segment in a child.
  public mutating func appendToSegment(
    _ segment: StorageSegment, at offset: Int, _ bytes: Span<UInt8>, isFlushed: Bool
  ) -> StorageAnswer {
    storage.appendToSegment(segment, at: offset, bytes, isFlushed: isFlushed)
  }

  /// Reads from a segment in a child.
  public mutating func readSegment(
    _ segment: StorageSegment, at offset: Int, into buffer: inout ByteBuffer
  ) -> StorageAnswer {
    storage.readSegment(segment, at: offset, into: &buffer)
  }

  /// Looks for segments in a child.
  public mutating func findSegments(
    of series: StorageSeries, from number: UInt64, _ found: inout StorageSegmentRange
  ) -> StorageAnswer {
    storage.findSegments(of: series, from: number, &found)
  }

  /// Deletes a segment in a child.
  public mutating func deleteSegment(_ segment: StorageSegment) -> StorageAnswer { storage.deleteSegment(segment) }

  /// As `HostStorage` says.
  public mutating func setSegmentAside(_ segment: StorageSegment) -> StorageAnswer { storage.setSegmentAside(segment) }

  // MARK: Firmware

  /// Takes over what a configuration says about firmware, nothing where it has none. Belongs behind `init` and each
  /// `replacePlan`, as it takes from the same memory. Reads the file of keys.
  public mutating func useFirmware(_ plan: borrowing FirmwarePlan, from arena: inout Arena) throws(ArenaExhausted) {
    try firmware.use(plan, from: &arena)
  }

  /// Why the program is to end in another way than by itself.
  public var supervisedEnd: SupervisedEnd? { firmware.end }

  /// SHA-256 by mbedTLS.
  public func add(_ bytes: Span<UInt8>, to hash: inout RunningHash) {
    var running = SHA256(resuming: hash)
    running.add(bytes)
    hash = running.state(after: hash.byteCount + UInt64(bytes.count))
  }

  /// SHA-256 by mbedTLS.
  public func digest(of rest: Span<UInt8>, behind hash: RunningHash) -> InlineArray<32, UInt8> {
    var running = SHA256(resuming: hash)
    running.add(rest)
    return running.finish()
  }

  /// Keys of the configured file.
  public var trustedKeyCount: Int { firmware.keyCount }

  /// Whether a trusted key has signed.
  public func isSigned(
    _ digest: InlineArray<32, UInt8>, byKey identifier: UInt32, _ signature: Span<UInt8>
  ) -> Bool {
    firmware.isSigned(digest, by: identifier, signature)
  }

  /// As it was when the configuration was taken over.
  public func firmwareObstacle() -> FirmwareObstacle? { firmware.obstacle }

  /// What is asked takes time, and the loop waits for it.
  private mutating func noteInstalling() {
    moment = .never
    isInstalling = true
  }

  /// Opens a file for an image in a child.
  public mutating func prepareImage(
    _ place: FirmwarePlace, header: Span<UInt8>, byteCount: UInt64, from offset: UInt64
  ) -> StorageAnswer {
    noteInstalling()
    return firmware.prepare(place, header, byteCount: byteCount, from: offset)
  }

  /// Hands bytes to the child.
  public mutating func writeImage(at offset: UInt64, _ bytes: Span<UInt8>) -> StorageAnswer {
    noteInstalling()
    return firmware.write(at: offset, bytes)
  }

  /// fsync(2) in the child.
  public mutating func flushImage() -> StorageAnswer {
    noteInstalling()
    return firmware.flush()
  }

  /// Ends an image in the child.
  public mutating func finishImage(byteCount: UInt64) -> StorageAnswer {
    noteInstalling()
    return firmware.finish(byteCount: byteCount)
  }

  /// Reads an image in a child.
  public mutating func readBackImage(
    _ place: FirmwarePlace, byteCount: UInt64, _ digest: inout InlineArray<32, UInt8>
  ) -> StorageAnswer {
    noteInstalling()
    return firmware.readBack(place, byteCount: byteCount, &digest)
  }

  /// Removes an image in a child.
  public mutating func discardImage(_ place: FirmwarePlace) -> StorageAnswer {
    noteInstalling()
    return firmware.discard(place)
  }

  /// By device and number of the file that runs.
  public func runningSlot() -> FirmwarePlace? { firmware.running }

  /// By what the supervisor has put into the environment.
  public func isSupervised() -> Bool { Supervision.isSupervised }

  /// Reads the slot record in a child.
  public mutating func readSlotRecord(into buffer: inout ByteBuffer) -> StorageAnswer {
    noteInstalling()
    return firmware.readSlots(into: &buffer)
  }

  /// Replaces a copy of it in a child.
  public mutating func replaceSlotRecord(copy index: Int, _ content: Span<UInt8>) -> StorageAnswer {
    noteInstalling()
    return firmware.replaceSlots(copy: index, content)
  }

  /// Starts the installer's program in a session of its own.
  public mutating func startInstaller(_ task: InstallerTask, _ place: FirmwarePlace, version: Span<UInt8>) -> Bool {
    noteInstalling()
    return firmware.startInstaller(task, place, version: version)
  }

  /// Collects its output and tells where it stands.
  public mutating func pollInstaller(output: inout ByteBuffer) -> ProgramState {
    firmware.pollInstaller(output: &output)
  }

  /// Sends SIGKILL to its whole process group.
  public mutating func stopInstaller() { firmware.stopInstaller() }

  /// Notes the status to end with.
  public mutating func endForSupervisor(_ end: SupervisedEnd) { firmware.endForSupervisor(end) }

  // MARK: Log

  /// Writes a line to standard error, never waiting for its reader.
  public mutating func writeLog(_ level: LogLevel, _ line: Span<UInt8>) {
    log.write(level, line)
  }

  // MARK: Control

  /// Listens for clients at `path`, of `owner` and `group`; -1 for those of the process.
  public mutating func openControl(_ path: Span<UInt8>, owner: Int64, group: Int64) throws(ControlFailure) {
    try control.open(path, owner: owner, group: group, in: &pollSet)
  }

  /// See `HostControl.hasControlNews`.
  public var hasControlNews: Bool {
    @inline(__always) get { control.hasNews }
  }

  /// See `HostControl.takeControlNews`.
  public mutating func takeControlNews() -> Bool { control.takeNews() }

  /// accept(2). Where there is no descriptor left, it is tried again a while later.
  public mutating func acceptControlClient() -> Bool {
    switch control.accept(in: &pollSet) {
    case .taken: return true
    case .none: return false
    case .noResources:
      releaseTime = min(releaseTime, System.bootTime() + LinuxHost.settlingTime)
      return false
    }
  }

  /// recv(2).
  public mutating func receiveControl(into buffer: inout ByteBuffer) -> LinkTransfer {
    control.receive(into: &buffer, in: &pollSet)
  }

  /// send(2).
  public mutating func sendControl(_ bytes: Span<UInt8>) -> LinkTransfer { control.send(bytes, in: &pollSet) }

  /// close(2).
  public mutating func closeControl() { control.closeClient(in: &pollSet) }

  /// getpid(2), and /proc/self/statm.
  public mutating func ownProcess() -> OwnProcess { OwnProcess.current() }

  /// That of this build.
  public func appendVersion(to buffer: inout ByteBuffer) { buffer.append(buildVersion) }

  // MARK: Links

  /// How long after a link has opened connecting is over: session tickets come, the server answers CONNECT.
  private static var settlingTime: TimeSpan { .seconds(1) }

  /// Begins to open a link.
  public mutating func openLink(
    _ slot: LinkSlot, to endpoint: borrowing LinkEndpoint, certificateTime: WallTime, deadline: Instant
  ) {
    moment = .never
    releaseUnused()
    links[slot.index].open(
      to: endpoint, now: System.bootTime(), deadline: deadline, certificateTime: certificateTime)
  }

  /// Moves the opening of a link forward.
  public mutating func pollLink(_ slot: LinkSlot) -> LinkState {
    moment = .never
    let now = System.bootTime()
    let state = links[slot.index].poll(now: now)
    if state == .open { releaseTime = now + LinuxHost.settlingTime }
    return state
  }

  /// From when on the certificate is valid that the last `pollLink` has checked in full.
  public func checkedCertificateStart(_ slot: LinkSlot) -> WallTime? { links[slot.index].checkedCertificateStart }

  /// Sends the beginning of `bytes`.
  public mutating func send(_ bytes: Span<UInt8>, on slot: LinkSlot) -> LinkTransfer {
    links[slot.index].send(bytes)
  }

  /// Receives into the free room of `buffer`.
  public mutating func receive(on slot: LinkSlot, into buffer: inout ByteBuffer) -> LinkTransfer {
    links[slot.index].isDrained ? .wouldBlock : links[slot.index].receive(into: &buffer)
  }

  /// Whether receiving may find something.
  public func mayReceive(on slot: LinkSlot) -> Bool { links[slot.index].mayReceive }

  /// Ends a link.
  public mutating func closeLink(_ slot: LinkSlot) {
    moment = .never
    links[slot.index].close()
  }

  /// Appends what is known about a link.
  public mutating func describeLink(_ slot: LinkSlot, into line: inout ByteBuffer) {
    links[slot.index].describe(into: &line)
  }
}

extension LinkSlot {
  fileprivate var index: Int { Int(rawValue) }
}

// A `~Copyable` value cannot be bound in a `do` whose `catch` leaves it unbound, hence functions.

private func makeSources(_ plan: HostPlan, from arena: inout Arena) throws(HostSetupFailure) -> SourceTable {
  do throws(ArenaExhausted) { return try SourceTable(plan, from: &arena) } catch { throw .memory(error) }
}

private func makePrograms(_ plan: HostPlan, from arena: inout Arena) throws(HostSetupFailure) -> Programs {
  do throws(ArenaExhausted) { return try Programs(plan, from: &arena) } catch { throw .memory(error) }
}

private func makeOutputs(_ plan: HostPlan, from arena: inout Arena) throws(HostSetupFailure) -> OutputTable {
  do throws(ArenaExhausted) { return try OutputTable(plan, from: &arena) } catch { throw .memory(error) }
}

private func makeSignals() throws(HostSetupFailure) -> Signals {
  do throws(Errno) { return try Signals() } catch { throw .noResources(error.code) }
}
