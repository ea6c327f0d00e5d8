import Bytes
import Foundation
import HostInterface
import TestSupport
import Testing

@testable import LinuxHost

/// A listed sensor as a line: `name kind:argument path unit`.
private func list(sys: String, proc: String) throws -> [String] {
  var arena = makeArena()
  let sysBytes = Array(sys.utf8)
  let procBytes = Array(proc.utf8)
  var listing = try SensorListing(roots: MachineRoots(sys: sysBytes.span, proc: procBytes.span), from: &arena)
  var lines: [String] = []
  listing.forEach { sensor, text in
    let name = Array(text.extracting(sensor.name)).text
    let argument = Array(text.extracting(sensor.argument)).text
    let path = Array(text.extracting(sensor.path)).text
    lines.append(
      "\(name) \(sensor.kind.name):\(argument) \(path) \(Array(sensor.unit.symbol).text) \(sensor.unit.exponent)")
  }
  return lines
}

private func permanentAddress(sys: String) -> String? {
  let sysBytes = Array(sys.utf8)
  let procBytes = Array("/proc".utf8)
  let roots = MachineRoots(sys: sysBytes.span, proc: procBytes.span)
  var buffer = makeBuffer()
  return roots.appendPermanentAddress(to: &buffer) ? buffer.text : nil
}

extension TemporaryFolder {
  fileprivate func interface(_ name: String, index: Int, type: Int = 1, address: String) throws {
    try write("class/net/\(name)/ifindex", "\(index)\n")
    try write("class/net/\(name)/type", "\(type)\n")
    try write("class/net/\(name)/address", address + "\n")
  }
}

@Suite struct ListingTests {
  @Test func listsATreeInOrder() throws {
    let tree = try TemporaryFolder()
    func zone(_ number: Int, _ type: String) throws {
      try tree.write("class/thermal/thermal_zone\(number)/type", type + "\n")
    }
    func chip(_ number: Int, _ files: [String: String]) throws {
      for (file, text) in files { try tree.write("class/hwmon/hwmon\(number)/" + file, text + "\n") }
    }
    try zone(10, "GPU Thermal")
    try zone(2, "cpu-thermal")
    try zone(3, "cpu-thermal")
    try chip(0, ["name": "lm75", "temp1_input": "1", "temp1_max": "80000", "update_interval": "1000"])
    try chip(
      1,
      [
        "name": "ina3221", "in10_input": "1", "in2_input": "1", "in2_label": "VIN +", "curr1_input": "1",
        "power1_input": "1", "fan1_input": "1", "temp1_input": "1", "pwm1": "1",
      ])
    try chip(3, ["name": "lm75", "temp1_input": "1"])
    try chip(
      4, ["name": "twins", "temp1_label": "same", "temp1_input": "1", "temp2_label": "same", "temp2_input": "1"])
    // Two of a name, told apart by their devices.
    for (number, device) in [(70, "1-0048"), (71, "1-0049")] {
      try chip(number, ["name": "tmp102", "temp1_input": "1"])
      try tree.write("devices/\(device)/uevent", "")
      try FileManager.default.createSymbolicLink(
        atPath: tree.path + "/class/hwmon/hwmon\(number)/device", withDestinationPath: "../../../devices/\(device)")
    }
    try tree.write("proc/loadavg", "0 0 0 1/1 1\n")
    try tree.interface("eth1", index: 3, address: "02:00:00:00:00:02")
    try tree.interface("eth0", index: 2, address: "02:00:00:00:00:01")
    try tree.interface("lo", index: 1, type: 772, address: "00:00:00:00:00:00")
    for counter in ["rx_bytes", "tx_bytes"] { try tree.write("class/net/eth1/statistics/\(counter)", "1\n") }
    try tree.write("class/net/eth0/statistics/rx_errors", "1\n")
    try tree.write("class/net/bonding_masters", "\n")
    let sys = tree.path
    #expect(
      try list(sys: sys, proc: sys + "/proc") == [
        "cpu_thermal thermal:cpu-thermal \(sys)/class/thermal/thermal_zone2/temp °C -3",
        "thermal_zone3 thermal:thermal_zone3 \(sys)/class/thermal/thermal_zone3/temp °C -3",
        "gpu_thermal thermal:GPU Thermal \(sys)/class/thermal/thermal_zone10/temp °C -3",
        "lm75_temp1 hwmon:lm75/temp1 \(sys)/class/hwmon/hwmon0/temp1_input °C -3",
        "ina3221_temp1 hwmon:ina3221/temp1 \(sys)/class/hwmon/hwmon1/temp1_input °C -3",
        "ina3221_vin hwmon:ina3221/VIN + \(sys)/class/hwmon/hwmon1/in2_input V -3",
        "ina3221_in10 hwmon:ina3221/in10 \(sys)/class/hwmon/hwmon1/in10_input V -3",
        "ina3221_curr1 hwmon:ina3221/curr1 \(sys)/class/hwmon/hwmon1/curr1_input A -3",
        "ina3221_power1 hwmon:ina3221/power1 \(sys)/class/hwmon/hwmon1/power1_input W -6",
        "ina3221_fan1 hwmon:ina3221/fan1 \(sys)/class/hwmon/hwmon1/fan1_input rpm 0",
        "hwmon3_temp1 hwmon:hwmon3/temp1 \(sys)/class/hwmon/hwmon3/temp1_input °C -3",
        "twins_same hwmon:twins/same \(sys)/class/hwmon/hwmon4/temp1_input °C -3",
        "twins_temp2 hwmon:twins/temp2 \(sys)/class/hwmon/hwmon4/temp2_input °C -3",
        "tmp102_1_0048_temp1 hwmon:tmp102@1-0048/temp1 \(sys)/class/hwmon/hwmon70/temp1_input °C -3",
        "tmp102_1_0049_temp1 hwmon:tmp102@1-0049/temp1 \(sys)/class/hwmon/hwmon71/temp1_input °C -3",
        "load_1 loadavg:1 \(sys)/proc/loadavg  0",
        "load_5 loadavg:5 \(sys)/proc/loadavg  0",
        "load_15 loadavg:15 \(sys)/proc/loadavg  0",
        "eth0_rx_errors network:eth0/rx-errors \(sys)/class/net/eth0/statistics/rx_errors  0",
        "eth1_rx_bytes network:eth1/rx-bytes \(sys)/class/net/eth1/statistics/rx_bytes B 0",
        "eth1_tx_bytes network:eth1/tx-bytes \(sys)/class/net/eth1/statistics/tx_bytes B 0",
      ])
  }

  @Test func listsStorageOnce() throws {
    let tree = try TemporaryFolder()
    // Escaped blanks; a line longer than the reader's window; files, other machines and what is no storage left out.
    try FileManager.default.createDirectory(atPath: tree.path + "/a b", withIntermediateDirectories: true)
    let file = try tree.write("file", "")
    let escaped = (tree.path + "/a b").replacingOccurrences(of: " ", with: "\\040")
    try tree.write(
      "proc/self/mounts",
      """
      proc /proc proc rw 0 0
      tmpfs /dev/shm tmpfs rw 0 0
      server:/export /mnt nfs4 rw 0 0
      overlay /no/such/folder overlay rw,lowerdir=\(String(repeating: "/layer:", count: 2000)) 0 0
      /dev/vda \(file) ext4 rw 0 0
      /dev/vda \(escaped) ext4 rw,relatime 0 0
      /dev/vda / ext4 rw,relatime 0 0
      incomplete
      """)
    let lines = try list(sys: tree.path, proc: tree.path + "/proc")
    let name = (tree.path + "/a b").lowercased().split { !($0.isASCII && ($0.isLetter || $0.isNumber)) }
      .joined(separator: "_")
    var expected = [
      "disk_\(name)_available disk:\(tree.path)/a b/available \(tree.path)/a b B 0",
      "disk_\(name)_percent disk:\(tree.path)/a b/percent \(tree.path)/a b % 0",
    ]
    var temporary = stat()
    var root = stat()
    try #require(stat(tree.path, &temporary) == 0 && stat("/", &root) == 0)
    if temporary.st_dev != root.st_dev {
      expected += ["disk_root_available disk:/available / B 0", "disk_root_percent disk:/percent / % 0"]
    }
    #expect(lines == expected)
  }

  @Test func onlyAPermanentAddressOfADeviceNamesTheMachine() throws {
    let tree = try TemporaryFolder()
    func device(_ name: String, bus: String = "platform", assigned: Int = 0) throws {
      try tree.write("class/net/\(name)/addr_assign_type", "\(assigned)\n")
      try tree.write("devices/\(name)/uevent", "")
      for (link, target) in [
        ("devices/\(name)/subsystem", "../../bus/\(bus)"), ("class/net/\(name)/device", "../../../devices/\(name)"),
      ] {
        try FileManager.default.createSymbolicLink(atPath: tree.path + "/" + link, withDestinationPath: target)
      }
    }
    #expect(permanentAddress(sys: tree.path) == nil)
    try tree.interface("lo", index: 1, type: 772, address: "00:00:00:00:00:00")
    try tree.interface("ifb0", index: 2, address: "02:11:11:11:11:11")
    try tree.write("class/net/ifb0/addr_assign_type", "1\n")
    // Made of software, whatever it says of its address.
    try tree.interface("br0", index: 3, address: "02:11:11:11:11:12")
    try tree.write("class/net/br0/addr_assign_type", "0\n")
    // Real ones whose address was made up, borrowed or set.
    for (number, kind) in [1, 2, 3].enumerated() {
      try tree.interface("eth\(number)", index: 10 + number, address: "02:00:00:00:00:0\(number)")
      try device("eth\(number)", assigned: kind)
    }
    let infiniBand = "80:00:00:48:fe:80:00:00:00:00:00:00:00:02:c9:03:00:0e:8c:01"
    for (index, (name, type, address)) in [
      ("dead", 1, "00:00:00:00:00:00"), ("ib0", 32, infiniBand), ("ppp0", 512, ""), ("odd", 1, "02-00-00-00-00-01"),
    ].enumerated() {
      try tree.interface(name, index: 20 + index, type: type, address: address)
      try device(name)
    }
    #expect(permanentAddress(sys: tree.path) == nil)
    // Each is better than those before it, in whatever order they were found.
    try tree.interface("wlan1", index: 40, address: "00:00:00:00:00:01")
    try device("wlan1", bus: "usb")
    try tree.write("class/net/wlan1/phy80211/name", "phy0\n")
    #expect(permanentAddress(sys: tree.path) == "000000000001")
    try tree.interface("wlan0", index: 50, address: "aa:bb:cc:dd:ee:0f")
    try device("wlan0", bus: "sdio")
    try tree.write("class/net/wlan0/wireless/link", "0\n")
    #expect(permanentAddress(sys: tree.path) == "aabbccddee0f")
    try tree.interface("usb0", index: 31, address: "00:00:00:00:00:02")
    try device("usb0", bus: "usb")
    #expect(permanentAddress(sys: tree.path) == "000000000002")
    try tree.interface("end1", index: 30, address: "00:1A:2b:3C:4d:5F")
    try device("end1")
    #expect(permanentAddress(sys: tree.path) == "001a2b3c4d5f")
    try tree.interface("end0", index: 60, address: "00:1A:2b:3C:4d:5E")
    try device("end0")
    #expect(permanentAddress(sys: tree.path) == "001a2b3c4d5e")
  }

  @Test func listsChannelsAndThermometers() throws {
    let tree = try TemporaryFolder()
    try tree.iio(
      0, "adc", parent: "1-0048", ["in_voltage1_raw": "1", "in_voltage1_label": "Inlet", "in_temp_raw": "2"])
    try tree.iio(1, "adc", parent: "1-0049", ["in_voltage1_raw": "1", "in_voltage1_input": "3"])
    try tree.iio(2, "light", parent: "2-0010", ["in_illuminance_raw": "1", "out_voltage0_raw": "1", "in_odd_raw": "1"])
    try tree.write("bus/w1/devices/28-0c1a2b3c4d5e/w1_slave", "")
    try tree.write("bus/w1/devices/00-800000000000/w1_slave", "")
    try tree.write("bus/w1/devices/w1_bus_master1/w1_master_name", "")
    // The same thermometer, as a chip.
    try tree.write("class/hwmon/hwmon0/name", "w1_slave_temp\n")
    try tree.write("class/hwmon/hwmon0/temp1_input", "1\n")
    let folder = tree.path + "/bus/iio/devices/iio:device"
    let lines = try list(sys: tree.path, proc: tree.path)
    #expect(
      lines == [
        "adc_1_0048_temp iio:adc@1-0048/temp \(folder)0/in_temp_raw °C -3",
        "adc_1_0048_inlet iio:adc@1-0048/Inlet \(folder)0/in_voltage1_raw V -3",
        "adc_1_0049_voltage1 iio:adc@1-0049/voltage1 \(folder)1/in_voltage1_input V -3",
        "light_illuminance iio:light/illuminance \(folder)2/in_illuminance_raw lx 0",
        "light_odd iio:light/odd \(folder)2/in_odd_raw  0",
        "w1_28_0c1a2b3c4d5e w1:28-0c1a2b3c4d5e \(tree.path)/bus/w1/devices/28-0c1a2b3c4d5e/w1_slave °C -3",
      ])
  }

  @Test func listsThisMachine() throws {
    let lines = try list(sys: "/sys", proc: "/proc")
    for expected in [
      "cpu_usage cpu:usage /proc/stat % 0", "load_1 loadavg:1 /proc/loadavg  0",
      "memory_available memory:available /proc/meminfo B 0", "uptime uptime: /proc/uptime s 0",
    ] { #expect(lines.contains(expected)) }
    #expect(!lines.contains { $0.contains("/net/lo/") })
    let names = lines.map { $0.split(separator: " ")[0] }
    #expect(Set(names).count == names.count)
    let zones = try? FileManager.default.contentsOfDirectory(atPath: "/sys/class/thermal")
    #expect(lines.count { $0.contains(" thermal:") } == zones?.count { $0.hasPrefix("thermal_zone") } ?? 0)
  }
}

@Suite struct SensorUnitTests {
  /// What a chip measures stands in the order of the kind's units, in another module.
  @Test func hwmonUnitsBelongToTheirInputs() {
    let expected = [
      ("temp", "°C", -3), ("in", "V", -3), ("curr", "A", -3), ("power", "W", -6), ("energy", "J", -6),
      ("humidity", "%", -3), ("fan", "rpm", 0), ("freq", "Hz", 0),
    ]
    for (raw, (prefix, unit, exponent)) in expected.enumerated() {
      let quantity = HwmonQuantity(rawValue: UInt8(raw))
      #expect(quantity.map { Array($0.prefix).text } == prefix)
      #expect(quantity?.exponent == exponent)
      #expect(Array(SensorUnit(.hwmon, raw).symbol).text == unit)
    }
    #expect(HwmonQuantity(rawValue: UInt8(expected.count)) == nil)
    #expect(Array(SensorUnit(.hwmon, expected.count).symbol) == [])
    // One unit alone is that of all words; behind the last one there is none.
    #expect(Array(SensorUnit(.memory, 5).symbol).text == "B")
    #expect(Array(SensorUnit(.network, 2).symbol) == [])
  }
}

extension MachineTests {
  @Suite struct ListedSourceTests {
    @Test func everythingListedCanBeRead() throws {
      let host = try MachineHost()
      defer { host.close() }
      var arena = makeArena()
      var listing = try SensorListing(from: &arena)
      var results: [(String, SourceRead)] = []
      listing.forEach { sensor, text in
        guard let index = host.host.openSource(sensor.kind, argument: text.extracting(sensor.argument)) else { return }
        results.append((Array(text.extracting(sensor.argument)).text, host.read(index).result))
      }
      #expect(results.count >= 8)
      for (argument, result) in results { #expect(result.isComplete, "\(argument)") }
    }
  }
}
