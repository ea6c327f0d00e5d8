// Where each kind of source is on Linux: the second of the two files that know a kind. What is known without a machine,
// and how far a kind is trusted, is in HostInterface/SourceKind.swift.

import Bytes
import HostInterface

extension MachineRoots {
  /// The path that a source is read at, as things are now; nil when nothing of that name exists. Looking for zones
  /// and chips reads their names, which may block where another file system than the kernel's stands there: it is for
  /// children only.
  func path(of kind: SourceKind, place: Span<UInt8>) -> PathText? {
    switch kind {
    case .thermal: return thermalPath(place)
    case .hwmon: return hwmonPath(place)
    case .iio: return iioPath(place)
    case .w1: return oneWirePath(place)
    case .cpu: return procPath("stat")
    case .loadavg: return procPath("loadavg")
    case .memory: return procPath("meminfo")
    case .uptime: return procPath("uptime")
    case .network: return networkPath(place)
    case .disk: return place.isEmpty ? PathText(("/" as StaticString).bytes) : PathText(place)
    case .file: return PathText(place)
    case .gpio, .modbus, .constant: return nil
    }
  }
}

extension SourceKind {
  /// What is known of the numbers that are read at `path`; nil where it should be and cannot be known.
  func numbers(at path: Span<UInt8>) -> SourceNumbers? {
    switch self {
    case .thermal: return SourceNumbers(exponent: ThermalZones.exponent, areTemperatures: true)
    case .hwmon:
      let start = path.lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? 0
      guard let input = HwmonInput(fileName: path.extracting(start..<path.count)) else { return SourceNumbers() }
      return SourceNumbers(exponent: input.quantity.exponent, areTemperatures: input.quantity == .temperature)
    case .iio: return IIODevices.numbers(at: path)
    case .w1: return SourceNumbers(exponent: -3)
    case .cpu, .loadavg, .memory, .uptime, .network, .disk, .gpio, .modbus, .file, .constant: return SourceNumbers()
    }
  }
}

extension SensorListing {
  /// Calls `body` with each source of a kind that this machine has, in an order that does not change as long as the
  /// machine does not.
  mutating func list(_ kind: SourceKind, _ body: SensorBody) {
    switch kind {
    case .thermal: listThermalZones(body)
    case .hwmon: listHwmonChips(body)
    case .iio: listIIODevices(body)
    case .w1: listOneWireChips(body)
    case .cpu: addSystem(kind, "usage", "cpu_usage", makesCurve: true, body)
    case .loadavg:
      addSystem(kind, "1", "load_1", makesCurve: true, body)
      addSystem(kind, "5", "load_5", body)
      addSystem(kind, "15", "load_15", body)
    case .memory:
      addSystem(kind, "available", "memory_available", makesCurve: true, body)
      addSystem(kind, "used", "memory_used", body)
      addSystem(kind, "total", "memory_total", body)
    case .uptime: addSystem(kind, "", "uptime", makesCurve: true, body)
    case .network: listInterfaces(body)
    case .disk: listDisks(body)
    case .gpio: listLines(body)
    // A person knows what there is.
    case .modbus, .file, .constant: return
    }
  }
}
