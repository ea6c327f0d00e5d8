import Bytes
import CLinux
import Foundation
import TestSupport
import Testing

@testable import LinuxHost

/// A clock whose file is in a folder of its own.
private final class ClockUnderTest {
  let path: String
  var clock: Clock

  init(stored: String? = nil) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("mote-clock-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    path = folder.appendingPathComponent("clock").path
    try stored?.write(toFile: path, atomically: true, encoding: .utf8)
    clock = try ClockUnderTest.make(path)
  }

  static func make(_ path: String) throws -> Clock {
    var arena = makeArena(byteCount: 1024)
    return try Clock(path: Array(text: path).span, from: &arena)
  }

  func restart() throws { clock = try ClockUnderTest.make(path) }

  var stored: String? { try? String(contentsOfFile: path, encoding: .utf8) }
  var storedSeconds: Int64? { stored.flatMap { Int64($0.dropLast()) } }
  var now: Instant { clock.now() }
  var wallTime: WallTime? { clock.wallTime() }
  var certificateTime: WallTime { clock.certificateTime() }
}

@Suite struct ClockTests {
  private let seconds = Int64(Date().timeIntervalSince1970)

  @Test func tellsTheSystemsTime() throws {
    let test = try ClockUnderTest()
    let time = try #require(test.wallTime)
    #expect(abs(time.milliseconds / 1000 - seconds) < 60)
    #expect(abs(test.certificateTime.milliseconds / 1000 - seconds) < 60)
    let first = test.now
    #expect(test.now >= first)
  }

  @Test func knowsThatTheSystemIsBehind() throws {
    // A later run of this machine has been seen: now its clock is wrong.
    let later = seconds + 86_400
    let test = try ClockUnderTest(stored: "\(later)\n")
    #expect(test.wallTime == nil)
    #expect(test.certificateTime == WallTime(milliseconds: later * 1000))
  }

  @Test(arguments: ["", "\n", "x", "-5\n", "99999999999999999999\n", "9999999999999\n", "1\n", "12 34\n"])
  func doesNotBelieveADamagedFile(text: String) throws {
    #expect(try ClockUnderTest(stored: text).wallTime != nil)
  }

  @Test func storesOnlyATimeThatWasProven() throws {
    let test = try ClockUnderTest()
    test.clock.store(now: test.now, isEnding: true)
    #expect(test.stored == nil)
    test.clock.noteProven(now: test.now)
    test.clock.store(now: test.now, isEnding: false)
    let stored = try #require(test.storedSeconds)
    #expect(abs(stored - seconds) < 60)
    try test.restart()
    #expect(test.wallTime != nil)
  }

  @Test func storesOnceAnHour() throws {
    let test = try ClockUnderTest()
    let start = test.now
    test.clock.noteProven(now: start)
    test.clock.store(now: start, isEnding: false)
    try FileManager.default.removeItem(atPath: test.path)
    test.clock.store(now: start + .minutes(59), isEnding: false)
    #expect(test.stored == nil)
    test.clock.store(now: start + .minutes(60), isEnding: false)
    #expect(test.stored != nil)
    try FileManager.default.removeItem(atPath: test.path)
    test.clock.store(now: start + .minutes(61), isEnding: true)
    #expect(test.stored != nil)
  }

  @Test func isNeverStoredAheadOfTheSystem() throws {
    let test = try ClockUnderTest()
    let start = test.now
    test.clock.noteProven(now: start)
    // The boot-time clock says that two days have passed, the wall clock does not: it was set back, rightly or not.
    test.clock.store(now: start + .minutes(2880), isEnding: true)
    let stored = try #require(test.storedSeconds)
    #expect(stored - seconds < 60)
  }

  @Test func livesWithoutAPlaceToStore() throws {
    var clock = try ClockUnderTest.make("/nowhere/at/all")
    clock.noteProven(now: clock.now())
    clock.store(now: clock.now(), isEnding: true)
    var without = try ClockUnderTest.make("")
    without.noteProven(now: without.now())
    without.store(now: without.now(), isEnding: true)
  }
}
