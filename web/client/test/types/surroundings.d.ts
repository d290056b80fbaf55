// What the examples import and the tests don't install.
declare module "react-native" {
  export const AppState: {
    addEventListener(type: "change", listener: (state: "active" | "background" | "inactive") => void): { remove(): void };
  };
}
