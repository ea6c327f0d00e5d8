import Bytes
import Foundation
import HostInterface
import TestSupport
import Testing

@testable import LinuxHost

extension MachineTests {
  @Suite struct PowerTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func write(_ path: String, _ text: String) throws {
      let url = URL(fileURLWithPath: folder.path + "/" + path)
      try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try text.write(to: url, atomically: false, encoding: .utf8)
    }

    private func makeHost() throws -> MachineHost {
      try MachineHost(sys: folder.path + "/sys", proc: folder.path + "/proc")
    }

    private func start(_ program: String, _ host: MachineHost) -> Bool {
      let bytes = Array(program.utf8)
      return host.host.startAction(bytes.span)
    }

    private func mayStart(_ program: String, _ host: MachineHost) -> Bool {
      let bytes = Array(program.utf8)
      return host.host.mayStartAction(bytes.span)
    }

    /// Turns the loop until what was started has ended.
    private func finish(_ host: MachineHost) -> ProgramState {
      let end = Date(timeIntervalSinceNow: 10)
      while Date() < end {
        let state = host.host.pollAction()
        if state != .running { return state }
        host.wait(until: end)
      }
      return .running
    }

    @Test func aRunOfTheMachineHasItsName() throws {
      let host = try makeHost()
      defer { host.close() }
      #expect(host.host.bootIdentifier() == BootIdentifier(0, 0))
      try write("proc/sys/kernel/random/boot_id", "0b7e6c1e-9a64-4c07-8a5b-6b6f0f0e0a01\n")
      #expect(host.host.bootIdentifier() == BootIdentifier(0x0B7E_6C1E_9A64_4C07, 0x8A5B_6B6F_0F0E_0A01))
    }

    @Test(arguments: [("0", LastStart.unknown), ("32", .watchdog), ("48", .watchdog), ("16", .power), ("x", .unknown)])
    func theWatchdogSaysWhatItKnows(text: String, cause: LastStart) throws {
      let host = try makeHost()
      defer { host.close() }
      #expect(host.host.lastStart() == .unknown)
      try write("sys/class/watchdog/watchdog0/bootstatus", text + "\n")
      #expect(host.host.lastStart() == cause)
    }

    @Test func onlyWhatCanBeExecutedMayBeStarted() throws {
      let host = try makeHost()
      defer { host.close() }
      let program = try folder.script("action", "exit 0")
      #expect(mayStart(program, host))
      #expect(!mayStart(program + "-not", host))
      #expect(!mayStart(folder.path, host))
      try write("plain", "text")
      // Also for root, who may do everything else.
      #expect(!mayStart(folder.path + "/plain", host))
    }

    @Test func theEndOfAProgramWakesTheLoop() throws {
      let host = try makeHost()
      defer { host.close() }
      #expect(start(try folder.script("action", "exit 7"), host))
      #expect(finish(host) == .exited(7))
      #expect(start(folder.path + "/nothing", host))
      #expect(finish(host) == .exited(126))
      #expect(start(try folder.script("killed", "kill -9 $$"), host))
      #expect(finish(host) == .signalled(9))
      #expect(start(try folder.script("hangs", "sleep 60"), host))
      host.host.stopAction()
      #expect(finish(host) == .signalled(9))
    }

    @Test func aProgramGoesOnWithoutUs() throws {
      let host = try makeHost()
      let end = folder.path + "/end"
      let go = folder.path + "/go"
      #expect(start(try folder.script("action", "until [ -e \(go) ]; do sleep 0.02; done; echo > \(end)"), host))
      host.close()
      try write("go", "")
      let deadline = Date(timeIntervalSinceNow: 10)
      while !FileManager.default.fileExists(atPath: end), Date() < deadline { usleep(10_000) }
      #expect(FileManager.default.fileExists(atPath: end))
    }

    @Test func theBoardSaysWhatItIs() throws {
      func board(_ item: BoardItem) -> String {
        var buffer = makeBuffer()
        let sys = Array((folder.path + "/sys").utf8)
        MachineRoots(sys: sys.span, proc: sys.span).appendBoard(item, to: &buffer)
        return buffer.text
      }
      #expect(board(.serialNumber) == "" && board(.model) == "" && board(.manufacturer) == "")
      try write("sys/class/dmi/id/product_name", "Box 7\n")
      try write("sys/class/dmi/id/product_serial", "To be filled by O.E.M.\n")
      try write("sys/class/dmi/id/sys_vendor", "Acme\n")
      #expect(board(.model) == "Box 7" && board(.serialNumber) == "" && board(.manufacturer) == "Acme")
      try write("sys/firmware/devicetree/base/model", "Raspberry Pi 4 Model B Rev 1.4\0")
      try write("sys/firmware/devicetree/base/serial-number", "10000000abcdef01\0")
      #expect(board(.model) == "Raspberry Pi 4 Model B Rev 1.4" && board(.serialNumber) == "10000000abcdef01")
    }
  }
}
