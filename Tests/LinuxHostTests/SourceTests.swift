import Bytes
import Foundation
import HostInterface
import LinuxHost
import TestSupport
import Testing

extension MachineTests {
  @Suite struct SourceTests {
    // MARK: The kernel's own files

    @Test func readsProcInPlaceFromTheStart() throws {
      let host = try MachineHost()
      defer { host.close() }
      let memory = try host.open(.memory, "available")
      let first = host.readOnce(memory)
      #expect(first.result == .complete(exponent: 0))
      #expect(first.text.hasPrefix("MemTotal:"))
      #expect(first.text.contains("MemAvailable:"))
      let load = host.readOnce(try host.open(.loadavg, "1"))
      #expect(load.text.split(separator: " ").count == 5)
      #expect(host.readOnce(try host.open(.cpu, "usage")).text.hasPrefix("cpu "))
      let uptime = try host.open(.uptime, "")
      let before = host.readOnce(uptime).text
      usleep(30_000)
      #expect(host.readOnce(uptime).text != before, "an open file must be read anew")
    }

    @Test func sharesWhatIsReadAtTheSamePlace() throws {
      let host = try MachineHost()
      defer { host.close() }
      #expect(try host.open(.loadavg, "1") == host.open(.loadavg, "15"))
      #expect(try host.open(.memory, "used") == host.open(.memory, "available"))
      #expect(try host.open(.disk, "//free") == host.open(.disk, "//used"))
      #expect(try host.open(.network, "lo/rx-bytes") != host.open(.network, "lo/tx-bytes"))
      #expect(try host.open(.file, "/a") != host.open(.file, "/b"))
      #expect(try host.open(.constant, "1") != host.open(.file, "1"))
    }

    @Test func readsCountersOfInterfaces() throws {
      let host = try MachineHost()
      defer { host.close() }
      let loopback = host.readOnce(try host.open(.network, "lo/rx-bytes"))
      #expect(loopback.result == .complete(exponent: 0))
      #expect(Int(loopback.text.trimmingCharacters(in: .newlines)) != nil)
      #expect(host.readOnce(try host.open(.network, "lo/no-such")).result == .failed(.notFound))
      #expect(host.readOnce(try host.open(.network, "none7/rx-bytes")).result == .failed(.notFound))
      #expect(host.readOnce(try host.open(.network, "../lo/rx-bytes")).result == .failed(.notFound))
      #expect(host.readOnce(try host.open(.network, "lo/../mtu")).result == .failed(.notFound))
    }

    @Test func readsSizesOfDisks() throws {
      let host = try MachineHost()
      defer { host.close() }
      for argument in ["//free", "/free", "/proc/free", "/tmp/free"] {
        let disk = try host.open(.disk, argument)
        for _ in 0..<2 {
          let (result, text) = host.read(disk)
          #expect(result == .complete(exponent: 0))
          let sizes = text.split(separator: " ").compactMap { UInt64($0) }
          #expect(sizes.count == 3 && sizes[0] >= sizes[1] && sizes[1] >= sizes[2], "\(argument): \(text)")
        }
      }
      var real = statvfs()
      try #require(statvfs("/", &real) == 0)
      let root = host.read(try host.open(.disk, "//total")).text.split(separator: " ").compactMap { UInt64($0) }
      #expect(root.first == UInt64(real.f_blocks) * UInt64(real.f_frsize))
    }

    @Test func keepsSysfsAttributesOpen() throws {
      let host = try MachineHost()
      defer { host.close() }
      let mtu = try host.open(.file, "/sys/class/net/lo/mtu")
      #expect(host.readOnce(mtu).result == .pending, "nothing is known of it yet")
      host.promote(mtu)
      let descriptors = try descriptorTargets()
      #expect(descriptors.contains { $0.hasSuffix("/net/lo/mtu") })
      for _ in 0..<100 { #expect(host.read(mtu).text == "65536\n") }
      host.close()
      #expect(try !descriptorTargets().contains { $0.hasSuffix("/net/lo/mtu") }, "closed with the host")
    }

    @Test func givesConstantsAsTheyAre() throws {
      let host = try MachineHost()
      defer { host.close() }
      #expect(host.readOnce(try host.open(.constant, "21.5 °C")).text == "21.5 °C")
      #expect(host.readOnce(try host.open(.constant, "")).result == .complete(exponent: 0))
    }

    @Test func anAttributeWithoutValueNowIsAskedEachTime() throws {
      let host = try MachineHost()
      defer { host.close() }
      // The loopback has no speed: EINVAL of sysfs itself.
      let speed = try host.open(.file, "/sys/class/net/lo/speed")
      for _ in 0..<3 {
        #expect(host.readOnce(speed).result == .pending)
        #expect(host.read(speed).result == .failed(.notAvailable))
      }
    }

    // MARK: Names under /sys

    @Test func findsThermalZonesByTypeAndByName() throws {
      let tree = try TemporaryFolder()
      try tree.write("class/thermal/thermal_zone0/type", "acpitz\n")
      try tree.write("class/thermal/thermal_zone0/temp", "30000\n")
      try tree.write("class/thermal/thermal_zone3/type", "cpu-thermal\n")
      try tree.write("class/thermal/thermal_zone3/temp", "45678\n")
      try tree.write("class/thermal/thermal_zone12/type", "acpitz\n")
      try tree.write("class/thermal/thermal_zone12/temp", "31000\n")
      let host = try MachineHost(sys: tree.path)
      defer { host.close() }
      let processor = try host.open(.thermal, "cpu-thermal")
      for _ in 0..<3 { #expect(host.read(processor) == (.complete(exponent: -3), "45678\n")) }
      #expect(host.read(try host.open(.thermal, "acpitz")).text == "30000\n", "the first of several")
      #expect(host.read(try host.open(.thermal, "thermal_zone12")).text == "31000\n")
      #expect(host.read(try host.open(.thermal, "thermal_zone1")).result == .failed(.notFound))
      #expect(host.read(try host.open(.thermal, "cpu")).result == .failed(.notFound))
      #expect(host.read(try host.open(.thermal, "")).result == .failed(.notFound))
    }

    @Test func findsHwmonInputsByChipAndLabel() throws {
      let tree = try TemporaryFolder()
      try tree.hwmon(0, "lm75", ["temp1_input": "21500", "power1_input": "N/A", "fan1_input": "1200"])
      try tree.hwmon(1, "coretemp", ["temp1_input": "1", "temp1_label": "Package id 0", "temp2_input": "2"])
      try tree.hwmon(7, "lm75", ["temp1_input": "22500", "temp2_input": "3", "temp2_label": "temp1"])
      let host = try MachineHost(sys: tree.path)
      defer { host.close() }
      #expect(host.read(try host.open(.hwmon, "lm75/temp1")) == (.complete(exponent: -3), "21500\n"))
      #expect(host.read(try host.open(.hwmon, "lm75/power1")) == (.complete(exponent: -6), "N/A\n"), "as it says")
      #expect(host.read(try host.open(.hwmon, "lm75/fan1")) == (.complete(exponent: 0), "1200\n"))
      #expect(host.read(try host.open(.hwmon, "coretemp/Package id 0")).text == "1\n")
      #expect(host.read(try host.open(.hwmon, "coretemp/temp1")).text == "1\n")
      #expect(host.read(try host.open(.hwmon, "coretemp/temp2")).text == "2\n")
      #expect(host.read(try host.open(.hwmon, "hwmon7/temp1")).text == "3\n", "a label comes before a name")
      for argument in ["coretemp/temp3", "coretemp", "coretemp/", "/temp1", "lm75/name", "lm7/temp1", "hwmon2/temp1"] {
        #expect(host.read(try host.open(.hwmon, argument)).result == .failed(.notFound), "\(argument)")
      }
    }

    /// Older drivers have everything in the device's folder, or only the name, or none.
    @Test func findsChipsOfOlderDrivers() throws {
      let tree = try TemporaryFolder()
      try tree.write("class/hwmon/hwmon0/device/name", "old\n")
      try tree.write("class/hwmon/hwmon0/device/temp1_input", "1\n")
      try tree.write("class/hwmon/hwmon1/device/name", "half\n")
      try tree.write("class/hwmon/hwmon1/temp1_input", "2\n")
      try tree.write("class/hwmon/hwmon2/temp1_input", "3\n")
      try tree.device("1-0048", ofChip: 3)
      try tree.write("class/hwmon/hwmon3/temp1_input", "4\n")
      try tree.hwmon(4, "split", ["temp1_label": "mainboard"])
      try tree.write("class/hwmon/hwmon4/device/temp1_input", "5\n")
      let host = try MachineHost(sys: tree.path)
      defer { host.close() }
      for (argument, text) in [
        ("old/temp1", "1\n"), ("half/temp1", "2\n"), ("hwmon2/temp1", "3\n"), ("1-0048/temp1", "4\n"),
        ("split/temp1", "5\n"),
      ] { #expect(host.read(try host.open(.hwmon, argument)).text == text, "\(argument)") }
    }

    @Test func findsChipsAndZonesOfAnyNumber() throws {
      let tree = try TemporaryFolder()
      try tree.hwmon(64, "lm75", ["temp1_input": "1"])
      try tree.hwmon(1000, "far", ["temp1_input": "2"])
      try tree.write("class/thermal/thermal_zone64/type", "soc\n")
      try tree.write("class/thermal/thermal_zone64/temp", "3\n")
      // Others that are none.
      try tree.write("class/thermal/thermal_zone/type", "soc\n")
      try tree.write("class/thermal/thermal_zone9x/type", "soc\n")
      try tree.write("class/thermal/cooling_device0/type", "soc\n")
      let host = try MachineHost(sys: tree.path)
      defer { host.close() }
      #expect(host.read(try host.open(.hwmon, "lm75/temp1")).text == "1\n")
      #expect(host.read(try host.open(.hwmon, "far/temp1")).text == "2\n")
      #expect(host.read(try host.open(.thermal, "soc")).text == "3\n")
      #expect(host.read(try host.open(.thermal, "thermal_zone64")).text == "3\n")
    }

    /// Numbers change with the order in which drivers find their chips; devices do not.
    @Test func tellsEqualChipsApartByTheirDevices() throws {
      let tree = try TemporaryFolder()
      func lay(_ first: Int, _ second: Int) throws {
        try tree.hwmon(first, "lm75", ["temp1_input": "48000"])
        try tree.device("1-0048", ofChip: first)
        try tree.hwmon(second, "lm75", ["temp1_input": "49000"])
        try tree.device("1-0049", ofChip: second)
      }
      try lay(0, 2)
      let host = try MachineHost(sys: tree.path)
      defer { host.close() }
      let sources = [try host.open(.hwmon, "lm75@1-0048/temp1"), try host.open(.hwmon, "lm75@1-0049/temp1")]
      #expect(sources.map { host.read($0).text } == ["48000\n", "49000\n"])
      try tree.remove("class/hwmon")
      try lay(3, 1)
      #expect(sources.map { host.read($0).text } == ["48000\n", "49000\n"])
      #expect(host.read(try host.open(.hwmon, "lm75@1-0050/temp1")).result == .failed(.notFound))
      #expect(host.read(try host.open(.hwmon, "lm75@/temp1")).result == .failed(.notFound))
    }

    @Test func convertsIIOChannelsByWhatTheirDriverSays() throws {
      let tree = try TemporaryFolder()
      try tree.iio(
        0, "ads1015", parent: "1-0048",
        [
          "in_voltage0_raw": "1234", "in_voltage0_offset": "-12", "in_voltage_scale": "0.805664062",
          "in_voltage1_raw": "100", "in_voltage1_scale": "3.000000000", "in_voltage1_label": "battery",
          "in_voltage0-voltage1_raw": "-8", "in_voltage-voltage_scale": "2",
          "in_temp_input": "23125", "in_temp_raw": "1", "in_temp_scale": "1000",
        ])
      try tree.iio(
        3, "bmp280", parent: "1-0076",
        [
          "in_pressure_input": "101.325000", "in_accel_x_raw": "256", "in_accel_scale": "0.038307",
          "in_anglvel_y_raw": "-2", "in_scale": "0.5", "in_humidityrelative_raw": "7", "in_odd_raw": "5",
        ])
      let host = try MachineHost(sys: tree.path)
      defer { host.close() }
      for (argument, exponent, text) in [
        ("ads1015/voltage0", -3, "984.521483764"), ("ads1015/voltage1", -3, "300"), ("ads1015/battery", -3, "300"),
        ("iio:device0/voltage0-voltage1", -3, "-16"), ("ads1015@1-0048/temp", -3, "23125\n"),
        ("bmp280/pressure", 3, "101.325000\n"), ("bmp280/accel_x", 0, "9.806592"), ("bmp280/anglvel_y", 0, "-1"),
        ("bmp280/humidityrelative", -3, "3.5"), ("bmp280/odd", 0, "2.5"),
      ] {
        let source = try host.open(.iio, argument)
        for _ in 0..<3 { #expect(host.read(source) == (.complete(exponent: exponent), text), "\(argument)") }
      }
      for argument in [
        "ads1015/voltage2", "ads1015/voltage", "ads1016/voltage0", "ads1015", "iio:device1/temp", "/temp",
      ] {
        #expect(host.read(try host.open(.iio, argument)).result == .failed(.notFound), "\(argument)")
      }
    }

    @Test func anIIOChannelWhoseScaleCannotBeReadHasNoValue() throws {
      let tree = try TemporaryFolder()
      try tree.iio(
        0, "adc", parent: "a",
        [
          "in_voltage0_raw": "1", "in_voltage0_scale": "N/A", "in_voltage_scale": "2", "in_voltage1_raw": "N/A",
          "in_voltage2_raw": "1e36", "in_voltage2_scale": "1e30",
        ])
      let host = try MachineHost(sys: tree.path)
      defer { host.close() }
      #expect(host.read(try host.open(.iio, "adc/voltage0")).result == .failed(.inputOutput))
      #expect(host.read(try host.open(.iio, "adc/voltage1")) == (.complete(exponent: -3), "N/A\n"), "as it says")
      #expect(host.read(try host.open(.iio, "adc/voltage2")).result == .failed(.outOfRange))
    }

    @Test func readsOneWireThermometersByTheirNumbers() throws {
      let tree = try TemporaryFolder()
      let text = "72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=23125\n"
      try tree.write("bus/w1/devices/28-0c1a2b3c4d5e/w1_slave", text)
      let host = try MachineHost(sys: tree.path)
      defer { host.close() }
      #expect(host.read(try host.open(.w1, "28-0c1a2b3c4d5e")) == (.complete(exponent: -3), text))
      for argument in ["28-0c1a2b3c4d5f", "..", ""] {
        #expect(host.read(try host.open(.w1, argument)).result == .failed(.notFound), "\(argument)")
      }
    }

    /// What stands at a chip's place need not be the kernel's: its name may keep a reader waiting for ever.
    @Test func aNameThatNeverComesHoldsUpNothing() throws {
      let tree = try TemporaryFolder()
      try tree.hwmon(1, "lm75", ["temp1_input": "1"])
      try tree.write("class/hwmon/hwmon0/below", "")
      guard let slow = try SlowFiles(at: tree.path + "/class/hwmon/hwmon0") else { return }
      let host = try MachineHost(sys: tree.path, sourceTimeout: .milliseconds(300))
      defer {
        // First, for the reader cannot be killed.
        slow.end()
        host.close()
      }
      let chip = try host.open(.hwmon, "lm75/temp1")
      let load = try host.open(.loadavg, "1")
      #expect(host.readOnce(chip).result == .pending)
      #expect(host.readOnce(load).result.isComplete)
      #expect(host.read(chip).result == .failed(.timeout))
    }

    @Test func followsAChipThatComesBackUnderAnotherNumber() throws {
      let tree = try TemporaryFolder()
      try tree.hwmon(2, "lm75", ["temp1_input": "21500"])
      let host = try MachineHost(sys: tree.path)
      defer { host.close() }
      let sensor = try host.open(.hwmon, "lm75/temp1")
      for _ in 0..<3 { #expect(host.read(sensor).text == "21500\n") }
      try tree.remove("class/hwmon/hwmon2")
      #expect(host.read(sensor).result == .failed(.notFound))
      try tree.hwmon(5, "lm75", ["temp1_input": "22000"])
      #expect(host.readOnce(sensor).result == .failed(.notFound), "left alone for a while")
      usleep(2_100_000)
      #expect(host.read(sensor).text == "22000\n")
    }

    // MARK: Files of all sorts

    @Test func seesAFileThatIsReplaced() throws {
      let folder = try TemporaryFolder()
      let path = try folder.write("value", "1\n")
      let host = try MachineHost()
      defer { host.close() }
      let file = try host.open(.file, path)
      host.promote(file)
      try folder.write("new", "2\n")
      #expect(rename(folder.path + "/new", path) == 0)
      #expect(host.read(file).text == "2\n")
    }

    @Test func readsOnlyTheBeginningOfHugeFiles() throws {
      let folder = try TemporaryFolder()
      let path = try folder.write("huge", String(repeating: "x", count: 3_000_000))
      let host = try MachineHost()
      defer { host.close() }
      let file = try host.open(.file, path)
      for _ in 0..<3 { #expect(host.read(file).text.count == HostLimits.sourceBytesMax) }
      let endless = try host.open(.file, "/dev/zero")
      for _ in 0..<2 { #expect(host.read(endless).text.utf8.count == HostLimits.sourceBytesMax) }
    }

    @Test func handlesWhatIsNoFile() throws {
      let folder = try TemporaryFolder()
      let host = try MachineHost()
      defer { host.close() }
      #expect(host.read(try host.open(.file, folder.path)).result == .failed(.notFound), "a folder")
      let fifo = folder.path + "/fifo"
      try #require(mkfifo(fifo, 0o600) == 0)
      #expect(host.read(try host.open(.file, fifo)).text == "", "nobody writes")
      let writer = Foundation.open(fifo, O_RDWR)
      defer { Foundation.close(writer) }
      #expect(host.read(try host.open(.file, fifo)).result == .failed(.notReady), "somebody may write")
      #expect(host.read(try host.open(.file, "")).result == .failed(.notFound))
      #expect(host.read(try host.open(.file, "/proc/1/mem")).result != .pending)
      #expect(host.read(try host.open(.file, "/" + String(repeating: "a", count: 600))).result == .failed(.notFound))
      #expect(childStates(named: "mote-reader").isEmpty, "no reader is left")
    }

    // MARK: Files that keep their readers waiting

    @Test func readsSlowFilesSideBySide() throws {
      guard let slow = try SlowFiles() else { return }
      defer { slow.end() }
      let host = try MachineHost()
      defer { host.close() }
      let sources = try (1...4).map { try host.open(.file, slow.path + "/slow\($0)") }
      for _ in 0..<2 {
        let start = Date()
        // As the agent does: ask for all, wait until all are there.
        _ = sources.map { host.host.prepareSource($0) }
        #expect(childStates(named: "mote-reader").count == 4, "all four are read at once")
        #expect(!host.canPrepareMore, "a fifth has to wait")
        while !sources.map({ host.host.prepareSource($0) }).allSatisfy({ $0 }) {
          host.wait(until: start + 3)
        }
        for source in sources {
          let (result, text) = host.readOnce(source)
          #expect(result == .complete(exponent: 0) && text == "99\n")
        }
        #expect(host.canPrepareMore)
        let duration = Date().timeIntervalSince(start)
        #expect(duration > 0.29, "\(duration) s for four of 0.3 s each")
      }
      #expect(childStates(named: "mote-reader").isEmpty, "nothing is left between readings")
    }

    @Test func aQuickFileOfAnUnknownFileSystemStaysInChildren() throws {
      guard let slow = try SlowFiles() else { return }
      defer { slow.end() }
      let host = try MachineHost()
      defer { host.close() }
      let quick = try host.open(.file, slow.path + "/quick")
      for _ in 0..<5 {
        #expect(host.readOnce(quick).result == .pending)
        #expect(host.read(quick).text == "21500\n")
      }
      let broken = try host.open(.file, slow.path + "/broken")
      for _ in 0..<2 { #expect(host.read(broken).result == .failed(.inputOutput)) }
      let disk = try host.open(.disk, slow.path + "/free")
      for _ in 0..<2 { #expect(host.read(disk).text == "4096000 2048000 1638400") }
    }

    /// What drivers answer at once where there is no value: nothing is waited for, and nothing left alone.
    @Test func whatHasNoValueSaysWhyAtOnce() throws {
      guard let files = try SlowFiles() else { return }
      defer { files.end() }
      let host = try MachineHost(sourceTimeout: .seconds(60))
      defer { host.close() }
      let expected: [(String, ReadFailure)] = [
        ("EAGAIN", .notReady), ("EBUSY", .notReady), ("ENODATA", .noData), ("EINVAL", .notAvailable),
        ("EOPNOTSUPP", .notAvailable), ("ENXIO", .notConnected), ("ENETDOWN", .networkDown), ("ETIMEDOUT", .timeout),
        ("broken", .inputOutput),
      ]
      let sources = try expected.map { try host.open(.file, files.path + "/" + $0.0) }
      for _ in 0..<2 {
        for (source, (name, failure)) in zip(sources, expected) {
          #expect(host.readOnce(source).result == .pending, "\(name) is asked again")
          #expect(host.read(source, within: 30).result == .failed(failure), "\(name)")
        }
      }
      files.command("wake")
      for (source, (name, _)) in zip(sources, expected) where name != "broken" {
        #expect(host.read(source).text == "7\n", "\(name) has a value as soon as there is one")
      }
    }

    @Test func aTemperatureThatWasNeverReadIsNone() throws {
      let tree = try TemporaryFolder()
      try tree.write("class/thermal/thermal_zone0/type", "soc\n")
      try tree.write("class/thermal/thermal_zone0/temp", "-274000\n")
      try tree.hwmon(0, "soc", ["temp1_input": "-274000", "in0_input": "-274000"])
      let host = try MachineHost(sys: tree.path)
      defer { host.close() }
      let zone = try host.open(.thermal, "soc")
      for _ in 0..<3 { #expect(host.read(zone).result == .failed(.neverRead)) }
      #expect(host.read(try host.open(.hwmon, "soc/temp1")).result == .failed(.neverRead))
      #expect(host.read(try host.open(.hwmon, "soc/in0")).text == "-274000\n", "a voltage may be that")
      try tree.write("class/thermal/thermal_zone0/temp", "-27400\n")
      #expect(host.read(zone).text == "-27400\n", "as soon as it has been read")
    }

    /// What nobody took in time is there for the next event, and knows its age; not for ever.
    @Test func aLateAnswerWaitsAndKnowsItsAge() throws {
      guard let slow = try SlowFiles() else { return }
      let host = try MachineHost(sourceTimeout: .seconds(1))
      defer { host.close() }
      let late = try host.open(.file, slow.path + "/slow1")
      for (pause, isKept) in [(700, true), (6200, false)] as [(UInt32, Bool)] {
        #expect(host.readOnce(late).result == .pending)
        // The loop is woken by the reader's end.
        host.wait(until: Date(timeIntervalSinceNow: 2))
        usleep(pause * 1000)
        #expect(host.age(late) >= .milliseconds(Int64(pause)))
        #expect(host.readOnce(late).result.isComplete == isKept)
        #expect(!isKept || host.age(late) == .zero)
      }
    }

    @Test func aFileThatNeverAnswersHoldsUpNothing() throws {
      guard let slow = try SlowFiles() else { return }
      // On a busy machine another host may have closed before the last of its readers had died.
      let left = childStates(named: "mote-reader").count
      let host = try MachineHost(sourceTimeout: .milliseconds(300))
      defer { host.close() }
      let never = try host.open(.file, slow.path + "/never1")
      let load = try host.open(.loadavg, "1")
      let start = Date()
      #expect(host.readOnce(never).result == .pending)
      #expect(host.readOnce(load).result == .complete(exponent: 0))
      #expect(Date().timeIntervalSince(start) < 10, "the file would have held it up for ever")
      #expect(host.read(never).result == .failed(.timeout))
      let duration = Date().timeIntervalSince(start)
      #expect(duration > 0.29 && duration < 10, "\(duration) s")
      #expect(host.readOnce(never).result == .failed(.timeout), "left alone for a while")

      // FUSE does not let even SIGKILL end a reader whose request has been taken, as a dead NFS server does not.
      for number in 2...8 { _ = host.read(try host.open(.file, slow.path + "/never\(number)")) }
      #expect(childStates(named: "mote-reader").count - left <= 4)
      #expect(host.readOnce(load).result == .complete(exponent: 0))
      let other = try host.open(.file, "/proc/version")
      #expect(host.read(other).result == .failed(.timeout), "no reader can be had")

      slow.end()
      usleep(2_100_000)
      host.wait(until: Date())
      #expect(host.read(other).result == .complete(exponent: 0), "the stuck readers have ended")
      #expect(childStates(named: "mote-reader").count == left)
    }

    @Test func filesThatHangTogetherLeaveAPlaceToOthers() throws {
      guard let slow = try SlowFiles() else { return }
      defer { slow.end() }
      slow.freeze()
      let folder = try TemporaryFolder()
      let host = try MachineHost(sourceTimeout: .seconds(1))
      defer { host.close() }
      let hanging = try (1...4).map { try host.open(.file, slow.path + "/quick\($0)") }
      let healthy = try host.open(.file, try folder.write("value", "1\n"))
      // In the first event they take all places.
      host.prepare(hanging + [healthy], within: 0.5)
      #expect(host.readOnce(healthy).result == .pending)
      for index in hanging { #expect(host.read(index).result == .failed(.timeout)) }
      // When they are tried again, they leave one.
      usleep(2_100_000)
      host.prepare(hanging + [healthy], within: 0.5)
      #expect(host.readOnce(healthy).result == .complete(exponent: 0))
      #expect(host.readOnce(hanging[0]).result == .pending, "it is tried again")
    }

    @Test func aSourceThatBecomesSlowGoesBackToAChild() throws {
      let folder = try TemporaryFolder()
      let path = try folder.write("slow1", "1\n")
      let host = try MachineHost()
      defer { host.close() }
      let file = try host.open(.file, path)
      host.promote(file)
      guard let slow = try SlowFiles(at: folder.path) else { return }
      #expect(host.readOnce(file).text == "99\n", "the one reading that notices")
      #expect(host.readOnce(file).result == .pending)
      #expect(host.read(file).text == "99\n")
      slow.end()
      #expect(host.promote(file) >= 4, "trust takes longer the second time")
      #expect(host.read(file).text == "1\n")
    }

    @Test func aReadersEndIsNoLossForTheOthers() throws {
      let folder = try TemporaryFolder()
      let host = try MachineHost()
      defer { host.close() }
      // More sources at once than there can be readers.
      let sources = try (0..<12).map { try host.open(.file, folder.write("f\($0)", "\($0)\n")) }
      let end = Date(timeIntervalSinceNow: 5)
      while !sources.map({ host.host.prepareSource($0) }).allSatisfy({ $0 }), Date() < end { host.wait(until: end) }
      for (number, source) in sources.enumerated() { #expect(host.readOnce(source).text == "\(number)\n") }
    }

    @Test func aReloadKeepsNothingOpen() throws {
      let host = try MachineHost()
      defer { host.close() }
      let before = try descriptorTargets().count
      let mtu = try host.open(.file, "/sys/class/net/lo/mtu")
      host.promote(mtu)
      _ = host.readOnce(try host.open(.memory, "free"))
      _ = host.readOnce(try host.open(.file, "/etc/hostname"))
      var arena = makeArena()
      let plan = HostPlan(
        sensorCount: 1, sensorTextBytes: 10, commandCount: 0, commandTextBytes: 0, sourceTimeout: .seconds(1))
      try host.host.replacePlan(plan, from: &arena)
      #expect(try descriptorTargets().count == before)
      #expect(host.readOnce(try host.open(.constant, "new")).text == "new")
      let bytes = Array("more".utf8)
      let beyond = host.host.openSource(.constant, argument: bytes.span)
      #expect(beyond == nil, "the table is full")
      // A table without room leaves the present one as it is.
      var small = makeArena(byteCount: 16)
      #expect(throws: ArenaExhausted.self) { try host.host.replacePlan(plan, from: &small) }
      #expect(host.readOnce(0).text == "new")
    }
  }
}

extension TemporaryFolder {
  /// Links a chip to its device, as the kernel does.
  fileprivate func device(_ name: String, ofChip number: Int) throws {
    try write("devices/\(name)/uevent", "")
    try write("class/hwmon/hwmon\(number)/uevent", "")
    try FileManager.default.createSymbolicLink(
      atPath: path + "/class/hwmon/hwmon\(number)/device", withDestinationPath: "../../../devices/\(name)")
  }

  /// Lays out a device of the IIO bus, which is part of `parent`.
  func iio(_ number: Int, _ name: String, parent: String, _ files: [String: String]) throws {
    try write("devices/\(parent)/iio:device\(number)/name", name + "\n")
    for (file, text) in files { try write("devices/\(parent)/iio:device\(number)/" + file, text + "\n") }
    let link = path + "/bus/iio/devices/iio:device\(number)"
    try FileManager.default.createDirectory(atPath: path + "/bus/iio/devices", withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(
      atPath: link, withDestinationPath: "../../../devices/\(parent)/iio:device\(number)")
  }

  fileprivate func hwmon(_ number: Int, _ name: String, _ files: [String: String]) throws {
    try write("class/hwmon/hwmon\(number)/name", name + "\n")
    for (file, text) in files { try write("class/hwmon/hwmon\(number)/" + file, text + "\n") }
  }
}

/// What this process has open.
private func descriptorTargets() throws -> [String] {
  try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").compactMap {
    try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/" + $0)
  }
}
