// What the types of the SDKs import, and nothing here uses.
declare module "react-native";
declare module "react-native/Libraries/TurboModule/RCTExport";
declare module "react";
