// Thermal zones: /sys/class/thermal/thermal_zoneN, with the zone's kind in `type` and millidegrees in `temp`.

import Bytes

/// One thermal zone.
struct ThermalZone: ~Copyable {
  let number: Int
  let type: PathText
  let folder: PathText

  /// Whether `name` is its own name, thermal_zoneN.
  func isNamed(_ name: Span<UInt8>) -> Bool {
    guard name.starts(with: "thermal_zone") else { return false }
    return parseUnsigned(name.extracting(12..<name.count)) == UInt64(number)
  }

  var valuePath: PathText {
    var path = PathText(copying: folder)
    path.append("/temp")
    return path
  }
}

/// All thermal zones.
enum ThermalZones {
  /// The numbers are thousandths of the unit.
  static var exponent: Int { -3 }

  /// What the kernel says of a temperature that it has never read: THERMAL_TEMP_INVALID of its include/linux/thermal.h.
  /// Zones are offered as chips, too.
  static func isNeverRead(_ text: Span<UInt8>) -> Bool {
    text.extracting(text.trimmed(0..<text.count)).equals("-274000")
  }

  /// The zone with the lowest number above `number`.
  @inline(never)
  static func next(after number: Int, _ roots: borrowing MachineRoots) -> ThermalZone? {
    var folder = roots.classPath("thermal")
    guard let number = NumberedFolders.next(after: number, "thermal_zone", in: folder) else { return nil }
    folder.append("/thermal_zone")
    folder.append(decimal: number)
    return ThermalZone(number: number, type: readAttribute("/type", of: folder) ?? PathText(), folder: folder)
  }
}
