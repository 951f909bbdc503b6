// A small stand-in for libnvinfer.so.10 (MAJOR 10) or .so.11 (MAJOR 11): its registry and logger have the virtual tables of theirs, and it
// remembers what a plugin library does with them.
#include <cstdint>
#include <cstring>
#include <dlfcn.h>
#include <string>
#include <vector>

#include <NvInferRuntime.h>

using Creator = nvinfer1::IPluginCreatorInterface;

namespace {

std::vector<Creator*> registered;
std::string lastNamespace, lastMessage, wrongSlots;

//: Every slot but the right one leaves its number behind.
template <int Number>
bool wrong(void*) {
    wrongSlots += std::to_string(Number) + " ";
    return false;
}

bool registerCreator(void*, Creator& creator, const char* space) {
    registered.push_back(&creator);
    lastNamespace = space;
    return true;
}

void log(void*, int32_t severity, const char* text) { lastMessage = std::to_string(severity) + " " + text; }

#if MAJOR == 10
constexpr int kRegister = 12, kLog = 0;
#else
constexpr int kRegister = 8, kLog = 4;
#endif

void* registryTable[] = {
    (void*)wrong<0>, (void*)wrong<1>, (void*)wrong<2>,  (void*)wrong<3>,  (void*)wrong<4>,  (void*)wrong<5>,  (void*)wrong<6>,  (void*)wrong<7>,
    (void*)wrong<8>, (void*)wrong<9>, (void*)wrong<10>, (void*)wrong<11>, (void*)wrong<12>, (void*)wrong<13>, (void*)wrong<14>, (void*)wrong<15>,
};
void* loggerTable[] = {(void*)wrong<20>, (void*)wrong<21>, (void*)wrong<22>, (void*)wrong<23>, (void*)wrong<24>};
void* finderTable[5];

struct Object {
    void** table;
} registry{registryTable}, logger{loggerTable}, finder{finderTable};

void* findLogger(void*) { return &logger; }

__attribute__((constructor)) void fill() {
    registryTable[kRegister] = (void*)registerCreator;
    loggerTable[kLog] = (void*)log;
    std::memcpy(finderTable, loggerTable, sizeof finderTable);
    finderTable[kLog] = (void*)findLogger;
}

}  // namespace

#define SHOWN extern "C" __attribute__((visibility("default")))

SHOWN int32_t getInferLibVersion() noexcept { return MAJOR * 10000 + 1600; }
SHOWN nvinfer1::IPluginRegistry* getPluginRegistry() noexcept { return (nvinfer1::IPluginRegistry*)&registry; }
SHOWN nvinfer1::ILogger* getLogger() noexcept { return (nvinfer1::ILogger*)&logger; }

SHOWN int32_t registeredCount() { return static_cast<int32_t>(registered.size()); }
SHOWN const char* registeredNamespace() { return lastNamespace.c_str(); }
SHOWN const char* message() { return lastMessage.c_str(); }
SHOWN const char* slotsCalledWrongly() { return wrongSlots.c_str(); }

//: As IPluginRegistry::loadLibrary does it: opens, hands over the finder, registers what there is.
SHOWN int32_t loadLibrary(const char* path) {
    void* library = dlopen(path, RTLD_LAZY);
    auto setFinder = (void (*)(void*))dlsym(library, "setLoggerFinder");
    auto creators = (Creator * const* (*)(int32_t&)) dlsym(library, "getCreators");
    int32_t before = registeredCount(), count = 0;
    setFinder(&finder);
    Creator* const* all = creators(count);
    registered.insert(registered.end(), all, all + count);
    return before;
}

static nvinfer1::IPluginCreatorV3One* creatorOf(const char* name) {
    for (Creator* one : registered) {
        auto creator = static_cast<nvinfer1::IPluginCreatorV3One*>(one);
        if (std::strcmp(creator->getPluginName(), name) == 0) {
            return creator;
        }
    }
    return nullptr;
}

//: Makes a plugin without any field: null, and a message.
SHOWN int32_t makeWithoutFields(const char* name) {
    nvinfer1::PluginFieldCollection none{};
    return creatorOf(name)->createPlugin("node", &none, nvinfer1::TensorRTPhase::kBUILD) != nullptr;
}

//: The fields that an engine keeps of a plugin, after `rounds` times there and back; "" where one of them is refused.
SHOWN const char* fieldsKept(const char* name, float alpha, float beta, int32_t rounds) {
    static std::string text;
    text.clear();
    nvinfer1::PluginField given[] = {{"alpha", &alpha, nvinfer1::PluginFieldType::kFLOAT32, 1}, {"beta", &beta, nvinfer1::PluginFieldType::kFLOAT32, 1}};
    nvinfer1::PluginFieldCollection first{2, given};
    const nvinfer1::PluginFieldCollection* fields = &first;
    for (int32_t round = 0; round <= rounds; ++round) {
        auto phase = round == 0 ? nvinfer1::TensorRTPhase::kBUILD : nvinfer1::TensorRTPhase::kRUNTIME;
        nvinfer1::IPluginV3* plugin = creatorOf(name)->createPlugin("node", fields, phase);
        if (plugin == nullptr) {
            return "";
        }
        plugin = plugin->clone();
        auto runtime = static_cast<nvinfer1::IPluginV3OneRuntime*>(plugin->getCapabilityInterface(nvinfer1::PluginCapabilityType::kRUNTIME));
        fields = runtime->getFieldsToSerialize();
    }
    for (int32_t i = 0; i < fields->nbFields; ++i) {
        const nvinfer1::PluginField& field = fields->fields[i];
        bool const whole = field.type == nvinfer1::PluginFieldType::kINT32;
        text += std::string(field.name) + "=" + (whole ? std::to_string(*(const int32_t*)field.data) : std::to_string(*(const float*)field.data)) + " ";
    }
    return text.c_str();
}

//: Which (type, format) pairs the plugin takes for x, as "type/format ", in TensorRT's numbers; `dims` is the rank of x.
SHOWN const char* formatsOffered(const char* name, int32_t dims) {
    static std::string text;
    text.clear();
    nvinfer1::PluginFieldCollection const* known = creatorOf(name)->getFieldNames();
    float value = 0.5F;
    std::vector<nvinfer1::PluginField> given;
    for (int32_t i = 0; i < known->nbFields; ++i) {
        given.emplace_back(known->fields[i].name, &value, nvinfer1::PluginFieldType::kFLOAT32, 1);
    }
    nvinfer1::PluginFieldCollection fields{int32_t(given.size()), given.data()};
    nvinfer1::IPluginV3* plugin = creatorOf(name)->createPlugin("node", &fields, nvinfer1::TensorRTPhase::kBUILD);
    auto build = static_cast<nvinfer1::IPluginV3OneBuild*>(plugin->getCapabilityInterface(nvinfer1::PluginCapabilityType::kBUILD));
    for (int32_t type = 0; type < 12; ++type) {
        for (int32_t format = 0; format < 13; ++format) {
            nvinfer1::DynamicPluginTensorDesc all[8]{};
            all[0].desc.type = static_cast<nvinfer1::DataType>(type);
            all[0].desc.format = static_cast<nvinfer1::TensorFormat>(format);
            all[0].desc.dims.nbDims = dims;
            if (build->supportsFormatCombination(0, all, 5, 1)) {
                text += std::to_string(type) + "/" + std::to_string(format) + " ";
                all[5] = all[0];
                bool const same = build->supportsFormatCombination(5, all, 5, 1);
                all[5].desc.format = static_cast<nvinfer1::TensorFormat>((format + 1) % 13);
                text += same && !build->supportsFormatCombination(5, all, 5, 1) ? "" : "(y differs) ";
            }
        }
    }
    return text.c_str();
}
