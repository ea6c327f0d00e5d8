import Bytes
import HostInterface
import Simulator
import Storage
import TestSupport
import Testing

/// The model must bite: record writers with one fault each lose data in it, each in its own way.
@Suite struct DiskTests {
  /// What a writer of naive ways does; true where it believes that it has stored something.
  typealias Writer = (inout SimulatedDisk, [UInt8]) throws -> Void

  /// Everything that a power cut during a replacement can leave, and what was believed then.
  private func outcomes(of writer: Writer) -> [(isPromised: Bool, found: [UInt8])] {
    var outcomes: [(Bool, [UInt8])] = []
    var isPromised = false
    enumeratePowerCuts(
      before: { $0["file"] = content(1) },
      { disk in
        var disk = disk
        isPromised = (try? writer(&disk, content(2))) != nil && !disk.isOff
      },
      check: { disk, _ in
        outcomes.append((isPromised, disk["file"] ?? []))
        return true
      })
    return outcomes
  }

  private func isMixed(_ found: [UInt8]) -> Bool { found != content(1) && found != content(2) }

  @Test func writingInPlaceLeavesAMix() {
    let found = outcomes { disk, bytes in
      let file = try disk.open(fileName("file"), forWriting: true)
      _ = try disk.write(file, at: 0, bytes.span)
      try disk.flush(file)
      try disk.close(file)
    }
    #expect(!found.contains { $0.isPromised && $0.found != content(2) }, "it loses nothing once it has come to its end")
    #expect(found.contains { !$0.isPromised && isMixed($0.found) })
  }

  @Test func emptyingFirstLosesBoth() {
    let found = outcomes { disk, bytes in
      let file = try disk.open(fileName("file"), forWriting: true)
      try disk.truncate(file, to: 0)
      _ = try disk.write(file, at: 0, bytes.span)
      try disk.flush(file)
    }
    #expect(found.contains { $0.found.isEmpty })
  }

  @Test func renamingWithoutFlushLeavesZerosOrNothing() {
    let found = outcomes { disk, bytes in
      let file = try disk.create(fileName("file.new"))
      _ = try disk.write(file, at: 0, bytes.span)
      try disk.close(file)
      try disk.rename(fileName("file.new"), to: fileName("file"))
      try disk.flushFolder()
    }
    #expect(found.contains { $0.isPromised && $0.found.isEmpty })
    #expect(found.contains { $0.isPromised && $0.found == Array(repeating: 0, count: 8) }, "the right length")
    #expect(found.contains { $0.isPromised && isMixed($0.found) && $0.found.first == content(2).first }, "torn")
  }

  @Test func notFlushingTheFolderLosesWhatWasPromised() {
    let found = outcomes { disk, bytes in
      let file = try disk.create(fileName("file.new"))
      _ = try disk.write(file, at: 0, bytes.span)
      try disk.flush(file)
      try disk.close(file)
      try disk.rename(fileName("file.new"), to: fileName("file"))
    }
    #expect(!found.contains { isMixed($0.found) }, "what is there is whole")
    #expect(found.contains { $0.isPromised && $0.found == content(1) })
  }

  @Test func believingASecondFlushLosesWhatWasPromised() {
    let found = outcomes { disk, bytes in
      let file = try disk.create(fileName("file.new"))
      _ = try disk.write(file, at: 0, bytes.span)
      disk.faults.failing = [disk.callCount]
      if (try? disk.flush(file)) == nil { try disk.flush(file) }
      try disk.close(file)
      try disk.rename(fileName("file.new"), to: fileName("file"))
      try disk.flushFolder()
    }
    #expect(found.contains { $0.isPromised && isMixed($0.found) })
  }

  @Test func bothNamesOrNoneMayBeLeftOfARename() {
    let left = Set(namesAfterRename())
    #expect(left.contains(["file", "other"]))
    #expect(left.contains(["file"]))
    #expect(left.contains(["other"]))
    #expect(left.contains([]))
  }

  private func namesAfterRename() -> [[String]] {
    var left: [[String]] = []
    enumeratePowerCuts(
      before: { $0["other"] = [1] },
      { disk in try? disk.rename(fileName("other"), to: fileName("file")) },
      check: { disk, _ in
        left.append(disk.fileNames)
        return true
      })
    return left
  }

  /// What is flushed stays, and what a name stands for is another matter.
  @Test func whatIsFlushedIsDurable() {
    let disk = SimulatedDisk()
    #expect(throws: Never.self) {
      let file = try disk.create(fileName("file"))
      _ = try disk.write(file, at: 0, content(1).span)
      try disk.flush(file)
      try disk.flushFolder()
      disk.restart(Fate(seed: 3))
    }
    #expect(disk["file"] == content(1))
  }

  @Test func fateTriesEverythingOnce() {
    let fate = Fate()
    var seen: [String] = []
    repeat {
      let first = fate.choose(2)
      seen.append(first == 0 ? "0" : "1\(fate.choose(3))")
    } while fate.advance()
    #expect(seen == ["0", "10", "11", "12"])
  }
}
