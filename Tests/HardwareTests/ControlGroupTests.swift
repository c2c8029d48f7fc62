import Testing

@testable import Hardware

@Suite struct ControlGroupTests {
  @Test func quotasOfBothVersions() {
    #expect(ControlGroup.quota(ofVersion2: "200000 100000\n") == 2)
    #expect(ControlGroup.quota(ofVersion2: "50000\n 100000\n") == 0.5)
    for none in ["max 100000\n", "-1\n 100000\n", "", "100000"] {
      #expect(ControlGroup.quota(ofVersion2: none) == nil)
    }
  }

  @Test func memoryLimitsOfBothVersions() {
    #expect(ControlGroup.bytes(of: "8589934592\n") == 8 << 30)
    #expect(ControlGroup.bytes(of: "max\n") == nil)
    #expect(ControlGroup.bytes(of: "9223372036854771712\n") == nil)
  }

  @Test func aGroupIsFoundInTheKernelsTable() {
    let one = "12:memory:/slurm/job_7\n5:cpu,cpuacct:/slurm/job_7/step_0\n1:name=systemd:/x\n"
    #expect(ControlGroup.path(one, of: "cpu") == "/slurm/job_7/step_0")
    #expect(ControlGroup.path(one, of: "memory") == "/slurm/job_7")
    #expect(ControlGroup.path(one, of: nil) == nil)
    #expect(ControlGroup.path("0::/system.slice/a:b\n", of: nil) == "/system.slice/a:b")
  }
}
