#include "tensorrt.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

namespace se::runtime {
namespace {

struct Flavour {
    char const* name;
    char const* backend;
    int oldest, newest;  // majors that this loader knows
};
constexpr Flavour kTensorRt{"TensorRT", "tensorrt", 10, 11}, kRtx{"TensorRT-RTX", "tensorrt-rtx", 1, 1};

Result<int> majorOf(Plan const& plan, Flavour const& flavour) {
    auto const found = plan.manifest.versions.find(flavour.backend);
    std::string const version = found == plan.manifest.versions.end() ? "" : found->second;
    int major = 0;
    auto const [end, problem] = std::from_chars(version.data(), version.data() + version.size(), major);
    if (problem != std::errc() || (end != version.data() + version.size() && *end != '.'))
        return Error{std::string("the manifest does not say which ") + flavour.name + " built " + plan.engine.string(), "build it again"};
    if (major < flavour.oldest || major > flavour.newest)
        return Error{plan.engine.string() + " is a plan of " + flavour.name + " " + version + ", and this loader knows " +
                         std::to_string(flavour.oldest) + " to " + std::to_string(flavour.newest),
                     "build it again with one of these"};
    return major;
}

Result<Library> libraryFor(Plan const& plan, Flavour const& flavour, int major, Options const& options) {
    char const* named = std::getenv("SE_TENSORRT");
    std::string const wanted = !options.tensorrt.empty() ? options.tensorrt : named != nullptr ? named : "";
    std::string const usual = (&flavour == &kRtx ? "libtensorrt_rtx.so." : "libnvinfer.so.") + std::to_string(major);
    Result<Library> made = wanted.empty() ? Library::open({usual}) : Library::open({wanted});
    if (made) return made;
    std::string const why =
        plan.engine.string() + " needs " + flavour.name + " " + std::to_string(major) + ", which is not here: " + made.error().message;
    std::string const hint = "install it, or name its library in SE_TENSORRT";
    return &flavour == &kRtx ? Error{why, "TensorRT itself cannot load such a plan: " + hint} : Error{why, hint};
}

Result<LibraryVersion> versionOf(Library const& library) {
    auto* number = library.find<int32_t()>("getInferLibVersion");
    if (number == nullptr) return Error{library.name() + " is not TensorRT", "name the right library in SE_TENSORRT"};
    int32_t const whole = number();  // major * 10000 + minor * 100 + patch from TensorRT 10 on, major * 1000 before
    if (whole < 10000) return LibraryVersion{whole / 1000, whole / 100 % 10, whole % 100};
    return LibraryVersion{whole / 10000, whole / 100 % 100, whole % 100};
}

Status fits(Plan const& plan, Flavour const& flavour, int major, LibraryVersion const& here, Library const& library) {
    bool const rtx = library.find<int32_t()>("createInferRuntime_INTERNAL") != nullptr && here.major < 5;
    if (here.major == major && rtx == (&flavour == &kRtx)) return Done{};
    return Error{plan.engine.string() + " is a plan of " + flavour.name + " " + plan.manifest.versions.at(flavour.backend) + ", and " +
                     library.name() + " is " + (rtx ? kRtx.name : kTensorRt.name) + " " + here.text(),
                 "a plan loads only on the major version that built it: build it again, or name that library in SE_TENSORRT"};
}

Status suits(Plan const& plan, Cuda const& cuda) {
    std::vector<std::string> const& targets = plan.manifest.targets;
    if (targets.empty() || std::find(targets.begin(), targets.end(), cuda.target()) != targets.end()) return Done{};
    std::string listed;
    for (std::string const& target : targets) listed += (listed.empty() ? "" : ", ") + target;
    return Error{plan.engine.string() + " was built for " + listed + ", and " + cuda.name() + " is " + cuda.target(),
                 "build it for this GPU"};
}

Status compiled(Flavour const& flavour, LibraryVersion const& here) {
    if (headers().major == 0)
        return Error{"this program was compiled without TensorRT's headers", "compile it with -DSE_TENSORRT_INCLUDE=DIR"};
    if (headers().major == here.major && headersAreRtx() == (&flavour == &kRtx)) return Done{};
    return Error{std::string("this program was compiled with the headers of ") + (headersAreRtx() ? kRtx.name : kTensorRt.name) + " " +
                     headers().text() + ", and the library is " + flavour.name + " " + here.text(),
                 "compile it with that one's headers: -DSE_TENSORRT_INCLUDE=DIR"};
}

}  // namespace

Result<std::unique_ptr<Engine>> openTensorRt(Plan plan, Options const& options) {
    Flavour const& flavour = plan.manifest.backend == kRtx.backend ? kRtx : kTensorRt;
    Result<int> const major = majorOf(plan, flavour);
    if (!major) return major.error();
    Result<Library> library = libraryFor(plan, flavour, major.value(), options);
    if (!library) return library.error();
    Result<LibraryVersion> const here = versionOf(library.value());
    if (!here) return here.error();
    if (Status const same = fits(plan, flavour, major.value(), here.value(), library.value()); !same) return same.error();
    Result<std::shared_ptr<Cuda>> cuda = Cuda::open(options.device);
    if (!cuda) return Error{plan.engine.string() + ": " + cuda.error().message, cuda.error().hint};
    if (Status const right = suits(plan, *cuda.value()); !right) return right.error();
    if (Status const can = compiled(flavour, here.value()); !can) return can.error();
    return deserialise(std::move(plan), std::move(library.value()), here.value(), cuda.value());
}

}  // namespace se::runtime
