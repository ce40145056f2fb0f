"""Runs"""
