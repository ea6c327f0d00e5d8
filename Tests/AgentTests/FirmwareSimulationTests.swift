import Bytes
import HostInterface
import Simulator
import TestSupport
import Testing

/// Whole updates, with the power lost at every place.
@Suite struct FirmwareSimulationTests {
  private static let arenaBytes = 32 << 20

  /// One life of a device whose firmware is updated.
  struct Life: Sendable {
    var installer = "agent"
    var cleanSession = false
    /// Whether the new program works, or how its installer ends.
    var works = true
    /// What is wrong with it, where it is started at all.
    var fault: String?
    var installerStatus = 0
    /// What the boot loader's program cannot do, and what it does not do although it says so.
    var failing: [InstallerTask] = []
    var idle: [InstallerTask] = []
    var ignoresTry = false
    /// Where transfers are cut.
    var transferCuts: [Int] = []

    /// What is downloaded: some blocks, of which the last one is not whole.
    func content(_ version: String) -> [UInt8] {
      Array((works || version != "1.5.0" ? "WORKS " : fault ?? "BROKEN ").utf8) + Array(version.utf8)
        + (0..<9000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    }

    var isGood: Bool {
      works && (installerStatus == 0 || installerStatus == 10) && failing.isEmpty && idle.isEmpty && !ignoresTry
    }
  }

  struct Result {
    var turns = 0...0
    var callCount = 0
    var operationCount = 0
    var wasCut = false
    var wire: [String] = []
  }

  /// Runs `life` with the power lost at `cut`, checks what must hold, and that a second job is done afterwards.
  @discardableResult
  private func live(
    _ life: Life, _ cut: FirmwareCut = .never, _ fate: Fate = Fate(seed: 1), keepsAll: Bool = false,
    isTracing: Bool = false, damage: ((FirmwareSimulation) -> Void)? = nil
  ) throws -> Result {
    try withArena(byteCount: Self.arenaBytes) { arena in
      let simulation = try FirmwareSimulation(
        installer: life.installer, cleanSession: life.cleanSession, cut: cut, fate: fate, keepsAll: keepsAll,
        isTracing: isTracing, arena: &arena)
      try simulation.run(for: .seconds(10), &arena)
      var result = Result()
      let first = simulation.turnCount + 1
      let (call, operation) = (simulation.callCount, simulation.operationCount)
      simulation.cutTransfers(life.transferCuts)
      simulation.installerStatus = life.installerStatus
      simulation.breakTasks(failing: Set(life.failing), idle: Set(life.idle))
      simulation.ignoresTry = life.ignoresTry
      simulation.begin()
      damage?(simulation)
      var fault = try job(simulation, "1.5.0", life, &arena)
      result.turns = first...max(first, simulation.turnCount)
      result.callCount = simulation.callCount - call
      result.operationCount = simulation.operationCount - operation
      result.wasCut = simulation.wasCut
      result.wire = simulation.wire
      simulation.mend()
      // A program on trial that could not read the slot record gives itself up when it can.
      if damage != nil, simulation.isOnTrial { try simulation.run(for: .minutes(15), &arena) }
      fault = fault ?? check(simulation, life, isDamaged: damage != nil)
      if fault == nil { fault = try second(simulation, life, &arena) }
      if let fault {
        let story = isTracing ? simulation.story : ""
        if !isTracing {
          let again = Fate(seed: 1)
          try live(life, cut, again, keepsAll: keepsAll, isTracing: true, damage: damage)
        }
        Issue.record("\(life), \(cut): \(fault); \(simulation.requests)\n\(story)")
      }
      return result
    }
  }

  /// Downloads and installs `version`.
  private func job(
    _ simulation: FirmwareSimulation, _ version: String, _ life: Life, _ arena: inout Arena
  ) throws -> String? {
    simulation.ask(for: "download", record: simulation.offer(version, life.content(version)))
    try simulation.runToEnd(.minutes(120), &arena)
    guard case .done = simulation.requests.last?.step else { return simulation.world.violation }
    simulation.ask(for: "update")
    try simulation.runToEnd(.minutes(120), &arena)
    // What is told afterwards.
    try simulation.run(for: .minutes(2), &arena)
    if !simulation.isOnline { try simulation.run(for: .minutes(1), &arena) }
    return simulation.world.violation
  }

  /// What must hold however it went.
  private func check(_ simulation: FirmwareSimulation, _ life: Life, isDamaged: Bool) -> String? {
    if let violation = simulation.world.violation { return violation }
    guard simulation.isOnline else { return "not online" }
    guard let request = simulation.requests.last else { return "there is no request" }
    if request.answers.filter({ $0 == "initiate 202" }).count > 1 { return "accepted twice as new" }
    if simulation.installs.count > 1 { return "installed twice" }
    // The last report is what runs.
    if simulation.toldVersion != simulation.version {
      return "told \(simulation.toldVersion), runs \(simulation.version)"
    }
    if simulation.floor > 0 { return "the floor has risen" }
    // An update that came to nothing is a fault of the device, and told once.
    if !simulation.wasCut, !isDamaged, simulation.errorCodes != (life.isGood ? [] : [1006]) {
      return "error codes \(simulation.errorCodes)"
    }
    switch request.step {
    case .done:
      guard request.action == "update" else { return "ended with the download" }
      guard life.isGood else { return "done, but it cannot be" }
      return simulation.version == "1.5.0" ? nil : "done, but not installed"
    case .failed(let reason):
      if simulation.version == "1.5.0", !simulation.wasCut { return "failed, but installed" }
      return life.isGood && !simulation.wasCut && !isDamaged ? "failed: \(reason)" : nil
    default: return "not at an end"
    }
  }

  /// A job after that.
  private func second(_ simulation: FirmwareSimulation, _ life: Life, _ arena: inout Arena) throws -> String? {
    simulation.installerStatus = 0
    if let fault = try job(simulation, "1.6.0", life, &arena) { return "the second job: \(fault)" }
    guard let request = simulation.requests.last, request.action == "update", case .done = request.step else {
      return "the second job is not complete"
    }
    return simulation.version == "1.6.0" && simulation.toldVersion == "1.6.0" ? nil : "the second job was not done"
  }

  private static let lives = [
    Life(), Life(works: false), Life(installer: "command"), Life(installer: "command", installerStatus: 10),
    Life(installer: "command", installerStatus: 1), Life(cleanSession: true),
    Life(installer: "command", cleanSession: true, transferCuts: [700, 3000]), Life(transferCuts: [300, 5000, 6000]),
    Life(installer: "partition", transferCuts: [300, 5000]), Life(installer: "partition", works: false),
    Life(installer: "partition", failing: [.tryOut]), Life(installer: "partition", idle: [.tryOut]),
    Life(installer: "partition", failing: [.commit]), Life(installer: "partition", idle: [.commit]),
    Life(installer: "partition", works: false, fault: "LONELY "),
    Life(installer: "partition", works: false, fault: "CRASHES "),
  ]

  /// Each enumeration runs through these lives, and through all of them where more runs than usual are asked for.
  private static func chosen(_ few: [Int]) -> [Int] { Seeds.isThorough ? Array(lives.indices) : few }

  @Test(arguments: lives.indices) func ends(index: Int) throws { try live(Self.lives[index]) }

  @Test(arguments: chosen([0, 3, 8])) func survivesAPowerCutInFrontOfEachTurn(index: Int) throws {
    let life = Self.lives[index]
    var cutCount = 0
    for turn in try live(life).turns {
      for arrives in [false, true] where try live(life, .beforeTurn(turn, arrives: arrives)).wasCut { cutCount += 1 }
    }
    print("\(life): \(cutCount) power cuts between turns")
    #expect(cutCount > 100)
  }

  @Test(arguments: chosen([0, 3, 8])) func survivesACrashOfTheAgentInFrontOfEachTurn(index: Int) throws {
    let life = Self.lives[index]
    var count = 0
    for turn in try live(life).turns where try live(life, .crashBeforeTurn(turn)).wasCut { count += 1 }
    print("\(life): \(count) crashes")
    #expect(count > 50)
  }

  @Test(arguments: chosen([1, 8])) func survivesAPowerCutInEachCallOfTheStorage(index: Int) throws {
    let life = Self.lives[index]
    var historyCount = 0
    for call in 0..<(try live(life).callCount) {
      let fate = Fate(betweenExtremes: true)
      var wasCut = false
      repeat {
        wasCut = try live(life, .duringCall(call), fate).wasCut
        historyCount += 1
      } while wasCut && fate.advance()
    }
    print("\(life): \(historyCount) histories of the storage")
    #expect(historyCount > 100)
  }

  /// In front of each writing of an image or of the slot record, and behind it, with what was not flushed or without.
  @Test(arguments: lives.indices) func survivesAPowerCutInEachOperationUponImages(index: Int) throws {
    let life = Self.lives[index]
    var count = 0
    for operation in 0..<(try live(life).operationCount) {
      for (behind, keepsAll) in [(false, false), (true, false), (true, true)]
      where try live(life, .duringOperation(operation, behind: behind), keepsAll: keepsAll).wasCut { count += 1 }
    }
    print("\(life): \(count) power cuts upon images")
    #expect(count > 10)
  }

  @Test(arguments: [0, 2]) func aDiskThatFailsEndsInAWord(index: Int) throws {
    let life = Self.lives[index]
    let (callCount, operationCount) = (try live(life).callCount, try live(life).operationCount)
    for call in 0..<callCount {
      try live(life) { $0.damageDisk { faults, now in faults.failing = [now + call] } }
      try live(life) { $0.damageDisk { faults, now in faults.failingFrom = now + call } }
      try live(life) { $0.damageDisk { faults, now in faults.readOnlyFrom = now + call } }
    }
    try live(life) { $0.damageDisk { faults, _ in faults.capacity = 0 } }
    for operation in 0..<operationCount {
      for isLasting in [false, true] {
        try live(life) { $0.damageImages(operation, isLasting: isLasting) }
      }
    }
    print("\(life): \(3 * callCount + 1 + 2 * operationCount) faults")
  }
}
