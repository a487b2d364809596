//! The rules of this project that a program can check: how files look, what is depended on, and that every
//! promise has its tests.

mod dependencies;
mod guarantees;
mod pages;
mod rooms;
mod tidy;
